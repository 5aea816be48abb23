"""What a run leaves on disk or behind a URI.

Read files.py (files written whole), array_file.py (arrays, mapped and checked), ledger.py (the reports of a trial),
trial_files.py, run_record.py (run.json), run_files.py (a run on a path or in a store.py), cache.py (what preparation
keeps), tensorboard.py; for commands home.py (a home folder) and printing.py (output that may fail).
"""
