"""A finished trial's model as a folder that transformers loads."""
