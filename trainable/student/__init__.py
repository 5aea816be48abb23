"""The model that learns.

Read model.py (with config_keys.py: what a model folder may say), guided_loss.py, output_layer.py, batches.py,
step_data.py (what a step reads, made ahead on a GPU), train.py (with late_loss.py: when a loss is read), evaluate.py
(with diagnosis.py), checkpoint.py, unigram.py. tiny_batch.py tries a model before a run, memory.py measures one,
precision.py says which precision pays here.
"""
