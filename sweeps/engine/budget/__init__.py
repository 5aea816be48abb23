"""Predict how long a run takes, and find the largest run that fits in a given time.

Read data_size.py (how much text there is), stand_in.py and measure.py (a few steps of each kind, in a process),
calibration.py (as many processes at once as trials will run), teachers.py (the time to make teachers before the first
trial), prediction.py (from rates to minutes), sizing.py (--minutes: from minutes to steps and trials).
"""
