"""The Ray that trials run on.

Read ray_start.py (started here, or joined), nodes.py (what each node must have), ray_workers.py (preparation on a
cluster).
"""
