"""The Ray that trials run on.

Read ray_start.py (start the driver's own Ray, or join a cluster), nodes.py (what each node must have), ray_workers.py
(preparation on a cluster), worker_path.py (what workers import).
"""
