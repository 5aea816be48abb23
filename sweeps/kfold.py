#!/usr/bin/env python
"""Does the gain hold on other text? Five folds, the teacher of each counted without that fold.

    python sweeps/kfold.py  # laptop scale, built-in text
    python sweeps/kfold.py --corpus my_books.parquet --seeds 0 1 2
    python sweeps/kfold.py --scale published  # a GPU, BookCorpus

What varies: the fold that validates, and the teacher (none, or linear over 240 of 588 steps). What is fixed: 1 layer;
at published scale 250,000 rows of each training fold and 200,000 of the validation fold. With a tokenizer `train:N`
each fold trains a tokenizer on its own training rows; give a folder to share one. `python -m analysis.kfold_table RUN`
has the statistical tests.
"""

import sys

from sweeps.engine.specs.comparison import Comparison, grid, paired_plans
from sweeps.engine.study import TeacherOptions, best_schedule, run_study, seeds_of, study_base
from trainable.errors import InputError

QUESTION = "Does the gain hold on text that neither teacher nor student has seen, fold by fold?"


FOLDS = 5


def kfold(options: TeacherOptions) -> Comparison:
    """Control and best schedule on five folds; 1 seed, because the folds are the units."""
    base = study_base(options, {"model.layers": 1, "corpus.folds": FOLDS})
    if base.corpus.folds is None:
        raise InputError("corpus.folds is none, but the study is over folds: give at least 2, such as corpus.folds=5.")
    plans = paired_plans(
        grid(base, {"corpus.fold": range(base.corpus.folds), "seed": seeds_of(options, 1)}),
        lambda unit: [best_schedule(options, unit)],
    )
    return Comparison(study="kfold", question=QUESTION, base=base, plans=plans)


if __name__ == "__main__":
    sys.exit(run_study(kfold, TeacherOptions, __doc__))
