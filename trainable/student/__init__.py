"""The model that learns. Read model.py, guided_loss.py, output_layer.py, train.py, evaluate.py, checkpoint.py."""
