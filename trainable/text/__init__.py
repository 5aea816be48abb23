"""Text rows to token blocks: corpus, split, tokenizer, packing. Read corpus.py, split.py, tokenizer.py, blocks.py."""
