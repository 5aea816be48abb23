"""The spec of a run: a run as data, checked completely before anything runs.

Read spec.py (what the engine uses of any spec), comparison.py and search.py (the two kinds), pairs.py (a trial of a
comparison and its control), arms.py, teachers.py, space.py, groups.py and asha_spec.py (the parts of a search),
trial_names.py (names of trials), workload.py (how much a run trains).
"""
