"""One short file per study: what varies, what is fixed, the budget. `schedule_search.py` is the main one."""
