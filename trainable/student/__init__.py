"""The student: the model that learns, its loss and its training loop.

Read model.py with config_keys.py (keys of a model folder); guided_loss.py and output_layer.py; batches.py and
step_data.py (data of a step, made ahead on a GPU); train.py with late_loss.py (when a loss is read); evaluate.py with
diagnostics.py; checkpoint.py; unigram.py. tiny_batch.py checks a model before a run, memory.py measures peak memory,
allocator.py keeps freed memory for the next step, compiled_layers.py compiles the layers for a GPU, step_cost.py
measures the time of a step, and precision.py chooses the faster precision.
"""
