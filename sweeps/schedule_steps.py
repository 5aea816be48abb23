#!/usr/bin/env python
"""How long should the teacher stay?

    python sweeps/schedule_steps.py  # laptop scale, built-in text
    python sweeps/schedule_steps.py --corpus my_books.parquet --seeds 0 1 2
    python sweeps/schedule_steps.py --scale published  # a GPU, BookCorpus

What varies: linear over 240, 300, 360 of 588 steps. What is fixed: 2 layers, minimum weight 0.
"""

import sys

from sweeps.engine.specs.comparison import Comparison, grid, paired_plans
from sweeps.engine.study import StudyOptions, linear, run_study, seeds_of, study_base

QUESTION = "How many scheduling steps help most?"


def schedule_steps(options: StudyOptions) -> Comparison:
    """Control and three numbers of scheduling steps; 3 seeds."""
    base = study_base(options, {"model.layers": 2})
    plans = paired_plans(
        grid(base, {"seed": seeds_of(options, 3)}),
        lambda unit: [linear(steps, unit) for steps in (240, 300, 360)],
    )
    return Comparison(study="schedule_steps", question=QUESTION, base=base, plans=plans)


if __name__ == "__main__":
    sys.exit(run_study(schedule_steps, StudyOptions, __doc__))
