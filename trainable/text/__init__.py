"""Text rows to token blocks.

Read corpus.py (its sources are rows*.py and hub.py), split.py, tokenizer.py, then how rows become a stream of tokens:
packing.py, in shards.py that workers.py make and gather.py puts in order; blocks.py is what comes out.
"""
