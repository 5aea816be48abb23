"""Text rows to token blocks.

Read corpus.py, whose text comes from one of the sources/; split.py; tokenizer/; then how rows become a stream of
tokens: packing.py, in shards.py that workers.py make and gather.py puts in order; blocks.py is what comes out.
"""
