"""A run as data, checked whole before anything runs.

Read spec.py (what the engine asks of any run), comparison.py and search.py (the two kinds), space.py (what a search
varies), pairs.py (a trial and its control), trial_names.py (what trials are called).
"""
