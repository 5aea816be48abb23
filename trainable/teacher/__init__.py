"""Token blocks to a teacher. Read counts.py, smoothing.py, table.py, kinds.py, guidance.py, schedules.py, build.py."""
