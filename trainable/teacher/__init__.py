"""Token blocks to a teacher.

Read counts.py, smoothing.py and table.py (bigrams), ngram_counts.py, kneser_ney.py and ngram_table.py (longer ones),
teacher.py (what every teacher gives the student in a step; host_rows.py and device_rows.py multiply its rows on a CPU
and on a GPU), kinds/ (the teachers, a file each), schedules.py, settings.py, build.py.
"""
