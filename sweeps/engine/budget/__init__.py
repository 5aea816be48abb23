"""How long a run takes, and how large a run fits in a given time.

Read data_size.py (how much text there is), stand_in.py and measure.py (a few steps of each kind, in a process),
calibration.py (as many processes at once as trials will run), teachers.py (what they take before the first trial),
prediction.py (from rates to minutes), sizing.py (--minutes: from minutes to steps and trials).
"""
