"""Tokenizers: trained here, or given by a file that is made a function of the text.

Read tokenizer.py, tokenizer_file.py, special_tokens.py; then how rows are encoded (encode.py), and which of them cannot
be read (unread.py, reading.py).
"""
