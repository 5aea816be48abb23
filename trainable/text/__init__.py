"""Text rows to token blocks.

Read corpus.py, whose text comes from one of the sources/; split.py; tokenizer/; then how rows become a stream of
tokens: packing.py, in shards.py that workers.py make and gather.py puts in order; parts.py, which rows are tokenised at
all, and which lie in the cache; blocks.py is what comes out.
"""
