#!/usr/bin/env python
"""What a sceptic asks: is it the bigrams, or would any soft target do?

    python sweeps/teacher_controls.py  # laptop scale, built-in text
    python sweeps/teacher_controls.py --corpus my_books.parquet --seeds 0 1 2
    python sweeps/teacher_controls.py --scale published  # a GPU, BookCorpus

What varies: what the teacher knows, at the same weights w(t): uniform and unigram (label smoothing), shuffled (rows
permuted: same entropy, wrong content), bigrams unsmoothed and with modified Kneser-Ney, counted on the student's rows,
on the whole training split, and on all rows (a leak probe). The learning rate is tuned in every arm, the control's too.
What is fixed: 1 layer. For `train_split` to differ from `student`, give --train-rows.
"""

import sys

from sweeps.engine.specs.comparison import Arm, Comparison, grid, paired_plans
from sweeps.engine.study import TeacherOptions, best_schedule, run_study, seeds_of, study_base
from trainable.config import TrialConfig

QUESTION = "Is it what bigrams know that helps, or would any soft target do?"


TEACHERS: dict[str, dict[str, str]] = {
    "uniform": {"teacher.kind": "uniform"},
    "unigram": {"teacher.kind": "unigram"},
    "shuffled bigram": {"teacher.kind": "shuffled"},
    "bigram": {},
    "bigram, Kneser-Ney": {"teacher.smoothing": "modified_kneser_ney"},
    "bigram, training split": {"teacher.rows": "train_split"},
    "bigram, all rows (leak)": {"teacher.rows": "all"},
}
RATES = (1 / 3, 1.0, 3.0)  # times the setting's learning rate


def teacher_controls(options: TeacherOptions) -> Comparison:
    """Seven teachers and none, three learning rates, 3 seeds."""
    base = study_base(options, {"model.layers": 1})
    rates = [float(f"{base.optimizer.lr * factor:.4g}") for factor in (RATES[1:2] if options.smoke_test else RATES)]
    units = grid(base, {"optimizer.lr": rates, "seed": seeds_of(options, 3)})

    def arms(unit: TrialConfig) -> list[Arm]:
        best = best_schedule(options, unit)
        return [Arm(name, {**best.changes, **changes}) for name, changes in TEACHERS.items()]

    plans = paired_plans(units, arms)
    return Comparison(study="teacher_controls", question=QUESTION, base=base, plans=plans, tuned="optimizer.lr")


if __name__ == "__main__":
    sys.exit(run_study(teacher_controls, TeacherOptions, __doc__))
