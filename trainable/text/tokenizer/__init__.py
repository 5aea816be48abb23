"""Tokenizers, trained here or loaded from a file, always such that the same text gives the same tokens.

Read tokenizer.py, tokenizer_file.py, special_tokens.py; then encode.py (rows to token ids), unread.py (rows that a
tokenizer cannot read) and reading.py (what the user is told of them).
"""
