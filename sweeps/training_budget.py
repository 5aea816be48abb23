#!/usr/bin/env python
"""Does the head start last? The same comparison at 1, 2, 4 and 8 times the steps.

    python sweeps/training_budget.py  # laptop scale, built-in text
    python sweeps/training_budget.py --corpus my_books.parquet --seeds 0 1 2
    python sweeps/training_budget.py --scale published  # a GPU, BookCorpus

What varies: the budget (optimizer steps; warm-up and cosine decay have its length), and the teacher: none, the best
schedule with its scheduling steps scaled with the run, or the same schedule unscaled. What is fixed: 1 layer; each step
reads text that is new to the student as long as the corpus lasts (the summary says how many epochs were read).
"""

import sys

from sweeps.engine.specs.comparison import Arm, Comparison, paired_plans
from sweeps.engine.study import Scale, TeacherOptions, best_schedule, run_study, seeds_of, study_base
from trainable.config import TrialConfig, override

QUESTION = "Does the head start last when the budget grows?"


BUDGETS = (1, 2, 4, 8)
SMALLEST: dict[Scale, dict[str, int]] = {
    "laptop": {"loop.steps": 72, "loop.eval_every": 6, "loop.checkpoint_every": 6, "optimizer.warmup_steps": 12},
    "published": {},
}


def training_budget(options: TeacherOptions) -> Comparison:
    """Control, scaled and unscaled schedule at four budgets; 3 seeds."""
    base = study_base(options, {"model.layers": 1}, SMALLEST)
    unscaled = best_schedule(options, base, name="unscaled")
    budgets = BUDGETS[:2] if options.smoke_test else BUDGETS
    units = [budget(base, times, seed) for times in budgets for seed in seeds_of(options, 3)]

    def arms(unit: TrialConfig) -> list[Arm]:
        steps = unscaled.changes["teacher.steps"] * (unit.loop.steps // base.loop.steps)
        return [best_schedule(options, unit, name="scaled", steps=steps), unscaled]

    return Comparison(study="training_budget", question=QUESTION, base=base, plans=paired_plans(units, arms))


def budget(base: TrialConfig, times: int, seed: int) -> TrialConfig:
    """Settings of a run `times` as long; warm-up and the steps between evaluations and checkpoints grow with it."""
    keys = ("loop.steps", "loop.eval_every", "loop.checkpoint_every", "optimizer.warmup_steps")
    parts = {"loop": base.loop, "optimizer": base.optimizer}
    longer = {key: times * getattr(parts[key.split(".")[0]], key.split(".")[1]) for key in keys}
    return override(base, {**longer, "seed": seed})


if __name__ == "__main__":
    sys.exit(run_study(training_budget, TeacherOptions, __doc__))
