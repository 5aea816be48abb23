"""Where rows of text come from.

Read rows.py, what each source offers; files.py and split_names.py, which files are the corpus; then one file a form.
What reading a whole file has found is kept by found.py.
"""
