"""From token blocks to a teacher.

Read counts.py, smoothing.py and table.py (bigrams); ngram_counts.py, kneser_ney.py and ngram_table.py (longer n-grams);
teacher.py (the guidance that every teacher gives in a step); host_rows.py and device_rows.py (products of a teacher's
rows on a CPU and on a GPU, by products.py); kinds/ (one file for each kind of teacher); schedules.py; settings.py;
build.py.
"""
