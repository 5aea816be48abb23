"""Everything one trial needs: text -> tokens -> bigram teacher -> guided training, free of Ray (but for trial.py)."""
