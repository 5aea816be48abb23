"""Turn rows of text into blocks of token ids.

Read in this order:
- corpus.py: a column of text rows, from one of the sources/
- split.py: which rows train and which validate
- tokenizer/: rows to token ids
- packing.py: rows to a stream of tokens, in shards (shards.py) that workers (workers.py) make; gather.py sorts them
- parts.py: which rows must be tokenised, and which have their tokens in the cache
- blocks.py: the result
"""
