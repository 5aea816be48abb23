"""What the studies share, in the order of a sweep.

Read options.py and checks.py (the command line), cli.py (what it does), settings.py and study.py (what a study
fixes), specs/ (a run as data), budget/ (how long it takes), folder.py (where it lies), preflight.py and room.py (what
the machine must have), cluster/ (Ray), run.py (the driver), order/ (which trial comes next), progress.py, failures.py
and interrupt.py, export/.
"""
