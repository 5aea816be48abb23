"""Sources of text rows: files on disk, saved data sets, the Hugging Face hub.

Read rows.py (what each source offers), files.py and split_names.py (which files are the corpus), then one file for each
form, such as rows_csv.py. found.py keeps what was found by reading a whole file.
"""
