"""A run as data, checked whole before anything runs.

Read spec.py (what the engine asks of any run), comparison.py and search.py (the two kinds), pairs.py (a trial of a
comparison and its control), arms.py, space.py, groups.py and asha_spec.py (what a search is made of), trial_names.py
(what trials are called), workload.py (how much a run trains).
"""
