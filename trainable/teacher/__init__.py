"""Token blocks to a teacher.

Read counts.py, smoothing.py, table.py, kinds.py, guidance.py (with host_rows.py and device_rows.py: how rows of the
table are multiplied on a CPU and on a GPU), schedules.py, build.py.
"""
