"""The sweep engine that all studies share.

Read it in the order of a sweep: options.py and checks.py (the command line), cli.py (what it does), settings.py and
study.py (what a study fixes), specs/ (a run as data), budget/ (how long a run takes), folder.py (the run folder),
preflight.py and room.py (what the machine must have), cluster/ (Ray), run.py (the driver), order/ (which trial comes
next), progress.py, failures.py and interrupt.py (while trials run), export/ (a trained model as a folder).
"""
