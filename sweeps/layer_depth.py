#!/usr/bin/env python
"""Does depth change what the teacher is worth?

    python sweeps/layer_depth.py  # laptop scale, built-in text
    python sweeps/layer_depth.py --corpus my_books.parquet --seeds 0 1 2
    python sweeps/layer_depth.py --scale published  # a GPU, BookCorpus

What varies: the depth, 1 to 5 layers; at each depth the control and the best schedule, which the published study did
not run. What is fixed: steps and rows (at published scale 1 M to train and 0.2 M to validate).
"""

import sys

from sweeps.engine.specs.comparison import Comparison, grid, paired_plans
from sweeps.engine.study import TeacherOptions, best_schedule, run_study, seeds_of, study_base

QUESTION = "What is the teacher worth at each depth, and what is depth worth without it?"


def layer_depth(options: TeacherOptions) -> Comparison:
    """Control and best schedule at five depths; 1 seed (--seeds 0 1 2 for intervals)."""
    base = study_base(options, {})
    plans = paired_plans(
        grid(base, {"model.layers": range(1, 6), "seed": seeds_of(options, 1)}),
        lambda unit: [best_schedule(options, unit)],
    )
    return Comparison(study="layer_depth", question=QUESTION, base=base, plans=plans)


if __name__ == "__main__":
    sys.exit(run_study(layer_depth, TeacherOptions, __doc__))
