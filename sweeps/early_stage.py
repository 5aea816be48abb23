#!/usr/bin/env python
"""Experiments 1 to 3 of the published study: does a bigram teacher help early, and must it leave?

    python sweeps/early_stage.py  # laptop scale, built-in text
    python sweeps/early_stage.py --corpus my_books.parquet --seeds 0 1 2
    python sweeps/early_stage.py --scale published  # a GPU, BookCorpus

What varies: the teacher: none; linear over 100 steps to a minimum weight of 0.05, which stays to the end; linear over
100 steps to 0. What is fixed: 3 layers and the data; all trials of a seed share batches and initial weights.
"""

import sys

from sweeps.engine.specs.comparison import Arm, Comparison, grid, paired_plans
from sweeps.engine.study import StudyOptions, linear, run_study, seeds_of, study_base
from trainable.config import TrialConfig

QUESTION = "Does a bigram teacher help early in pre-training, and must it leave for good?"


def early_stage(options: StudyOptions) -> Comparison:
    """Control, a minimum weight that stays, and a teacher that ends; 3 seeds."""
    base = study_base(options, {"model.layers": 3})
    units = grid(base, {"seed": seeds_of(options, 3)})
    return Comparison(study="early_stage", question=QUESTION, base=base, plans=paired_plans(units, arms))


def arms(unit: TrialConfig) -> list[Arm]:
    """The guided arms: experiments 2 and 3."""
    return [
        linear(100, unit, min_weight=0.05, name="linear 100, min weight 0.05"),
        linear(100, unit, name="linear 100, min weight 0"),
    ]


if __name__ == "__main__":
    sys.exit(run_study(early_stage, StudyOptions, __doc__))
