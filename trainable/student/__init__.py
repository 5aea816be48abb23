"""The model that learns: its loss, the training loop, evaluation and checkpoints."""
