"""Files that a run leaves on disk or behind a URI.

Read files.py (files that are whole or absent), array_file.py (arrays, mapped and checked), ledger.py (the reports of a
trial), trial_files.py (a trial's folder), run_record.py (run.json), run_files.py (a run on a path or in a store.py),
cache.py (folders that are built once), tensorboard.py. locks.py, home.py (a home folder) and printing.py (output that
may fail) serve commands.
"""
