#!/usr/bin/env python
"""Does a head start matter in a whole pre-training? One epoch of the training split.

    python sweeps/full_pretraining.py  # laptop scale, built-in text
    python sweeps/full_pretraining.py --corpus my_books.parquet --seeds 0 1 2
    python sweeps/full_pretraining.py --scale published  # a GPU, BookCorpus

What varies: the teacher (none, or with the best schedule). What is fixed: 6 layers, and every row of the training
split: 34,856 steps at published scale (warm-up 1000, an evaluation and a checkpoint every 3000), 216 on a laptop, about
one epoch of the built-in text. A run can be interrupted at any time and continued with `--resume`.
"""

import sys

from sweeps.engine.specs.comparison import Comparison, grid, paired_plans
from sweeps.engine.study import Scale, TeacherOptions, best_schedule, run_study, seeds_of, study_base

QUESTION = "What is left of the head start after a whole epoch?"


RUN: dict[Scale, dict[str, int | None]] = {
    "laptop": {"loop.steps": 216, "loop.eval_every": 24, "loop.checkpoint_every": 24, "optimizer.warmup_steps": 8},
    "published": {
        "corpus.train_rows": None,
        "loop.steps": 34_856,
        "loop.eval_every": 3000,
        "loop.checkpoint_every": 3000,
        "optimizer.warmup_steps": 1000,
    },
}
BEST: dict[Scale, int] = {"laptop": 60, "published": 240}  # scheduling steps, in a run of any length


def full_pretraining(options: TeacherOptions) -> Comparison:
    """Control and best schedule, once."""
    base = study_base(options, {"model.layers": 6}, RUN)
    steps = options.schedule_steps
    if steps is None:
        steps = min(BEST[options.scale], base.loop.steps)
    plans = paired_plans(
        grid(base, {"seed": seeds_of(options, 1)}), lambda unit: [best_schedule(options, unit, steps=steps)]
    )
    return Comparison(study="full_pretraining", question=QUESTION, base=base, plans=plans)


if __name__ == "__main__":
    sys.exit(run_study(full_pretraining, TeacherOptions, __doc__))
