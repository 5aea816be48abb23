"""The Ray that trials run on.

Read ray_start.py (a Ray of its own, or a cluster that is joined), nodes.py (what each node must have), ray_workers.py
(preparation on a cluster), worker_path.py (what workers import).
"""
