#!/usr/bin/env python
"""Does the size of the validation set change what is measured?

    python sweeps/validation_size.py  # laptop scale, built-in text
    python sweeps/validation_size.py --corpus my_books.parquet --seeds 0 1 2
    python sweeps/validation_size.py --scale published  # a GPU, BookCorpus

What varies: the number of rows to validate on, 0.2 M and 1 M at published scale, 250 and 1,250 on a laptop. What is
fixed: 1 layer, no teacher.
"""

import sys

from sweeps.engine.specs.comparison import Comparison, grid, paired_plans
from sweeps.engine.study import StudyOptions, run_study, seeds_of, study_base

QUESTION = "How far does the validation loss move with the size of the validation set?"


def validation_size(options: StudyOptions) -> Comparison:
    """The control on two validation sets, the second five times the first; 3 seeds."""
    base = study_base(options, {"model.layers": 1})
    rows = base.corpus.eval_rows
    assert rows is not None, "both scales say how many rows validate"
    units = grid(base, {"corpus.eval_rows": (rows, 5 * rows), "seed": seeds_of(options, 3)})
    return Comparison(study="validation_size", question=QUESTION, base=base, plans=paired_plans(units, lambda unit: []))


if __name__ == "__main__":
    sys.exit(run_study(validation_size, StudyOptions, __doc__))
