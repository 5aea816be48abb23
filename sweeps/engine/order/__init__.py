"""Which trial comes next, and which is stopped early.

Read trial_order.py (Tune's calls, resumption, a list of trials), search.py (TPE, random, grid), asha.py, journal.py,
orders.py (which order a spec has).
"""
