#!/usr/bin/env python
"""How should the weight of the teacher fall: linearly, exponentially, or as 1/t?

    python sweeps/schedule_types.py  # laptop scale, built-in text
    python sweeps/schedule_types.py --corpus my_books.parquet --seeds 0 1 2
    python sweeps/schedule_types.py --scale published  # a GPU, BookCorpus

What varies: the type of the schedule. Each type lasts the whole run (588 published steps); exponential and reciprocal
also run in their published forms, exp(-t) and 1/(1 + t), which are over after a few steps. What is fixed: 1 layer,
minimum weight 0.
"""

import sys

from sweeps.engine.specs.comparison import Arm, Comparison, grid, paired_plans
from sweeps.engine.study import (
    PUBLISHED_STEPS,
    StudyOptions,
    in_proportion,
    linear,
    run_study,
    schedule,
    seeds_of,
    study_base,
)
from trainable.config import TrialConfig

QUESTION = "Which type of schedule helps most when it lasts the whole run?"


def schedule_types(options: StudyOptions) -> Comparison:
    """Five schedules over the whole run; 3 seeds."""
    base = study_base(options, {"model.layers": 1})
    units = grid(base, {"seed": seeds_of(options, 3)})
    return Comparison(study="schedule_types", question=QUESTION, base=base, plans=paired_plans(units, arms))


def arms(unit: TrialConfig) -> list[Arm]:
    """Each type over the whole run (1 % left at the end if not linear), and the two published forms."""
    whole = in_proportion(PUBLISHED_STEPS, unit)
    return [
        linear(PUBLISHED_STEPS, unit),
        schedule("exponential 588", "exponential", whole),
        schedule("reciprocal 588", "reciprocal", whole),
        schedule("exponential 588, as published", "exponential", whole, tau=1.0),
        schedule("reciprocal 588, as published", "reciprocal", whole, tau=1.0),
    ]


if __name__ == "__main__":
    sys.exit(run_study(schedule_types, StudyOptions, __doc__))
