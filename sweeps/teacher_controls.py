#!/usr/bin/env python
"""The sceptic's question: is it what bigrams know, or would any soft target do?

    python sweeps/teacher_controls.py  # laptop scale, built-in text
    python sweeps/teacher_controls.py --corpus my_books.parquet --seeds 0 1 2
    python sweeps/teacher_controls.py --scale published  # a GPU, BookCorpus

What varies: what the teacher knows, with the same weights w(t) for all teachers: uniform and unigram (label smoothing),
shuffled (rows of the table permuted: same entropy, wrong content), bigrams without smoothing and with modified
Kneser-Ney, and bigrams counted on the whole training split or on all rows (a leak probe) instead of the student's rows.
The learning rate is tuned in every arm, also in the control's. What is fixed: 1 layer. The training split differs from
the student's rows only with --train-rows.
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
    """Control and seven teachers at three learning rates; 3 seeds."""
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
