"""Decide which trial comes next, and which is stopped early.

Read trial_order.py (Tune's calls, resumption, the order of a list), search.py (the order of a search: TPE, random,
grid), asha.py (early stopping), journal.py (a copy for Optuna's tools), orders.py (which order a kind of spec has).
"""
