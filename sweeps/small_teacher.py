#!/usr/bin/env python
"""Can a small language model teach a larger one better than a trigram does, with its training time counted?

    python sweeps/small_teacher.py --corpus books.parquet  # hours on 2 cores
    python sweeps/small_teacher.py --scale published  # a GPU, BookCorpus
    python sweeps/small_teacher.py --set model.output_bias=none  # no bias

What varies: the teacher: none, uniform, a bigram or trigram table, or a small trained model with a quarter or half of
the student's width. A model's answers stand on the bigrams, so the arm with bigrams shows what the model adds to them.
Each small model is trained once, on the student's rows, for as many steps as the student and at a learning rate that
fits its width. It is asked once for its predictions, which all trials use. The report gives the seconds that this took,
and the seconds saved after they are subtracted. Arms are tuned and confirmed as in sweeps/teacher_order.py, on 3 fresh
seeds. What is fixed: the student (1 layer, an output bias that starts at the log unigram), linear schedule, minimum
weight 0, at most one epoch.
"""

import sys
from collections.abc import Mapping
from typing import Any

from sweeps.engine.cli import main
from sweeps.engine.protocol import TeachersOptions, teachers_study
from sweeps.engine.specs.search import Sweep
from sweeps.engine.specs.teachers import TEACHERS
from sweeps.engine.study import Scale
from trainable.config import TrialConfig

QUESTION = "Can a small language model teach a larger one, its own training counted in?"
STUDENT: Mapping[Scale, int] = {"laptop": 128, "published": 1024}  # its width
WIDTHS: Mapping[Scale, tuple[int, int]] = {"laptop": (32, 64), "published": (256, 512)}  # of the teachers


def small_teacher(options: TeachersOptions) -> Sweep:
    """Six arms at 1 layer, tuned and confirmed at full length."""

    def teachers_of(base: TrialConfig) -> dict[str, Mapping[str, Any]]:
        models = {f"model {width}": model_of(width, STUDENT[options.scale], base) for width in WIDTHS[options.scale]}
        return {**{name: TEACHERS[name] for name in ("uniform", "bigram", "trigram")}, **models}

    return teachers_study("small_teacher", QUESTION, options, teachers_of)


def model_of(width: int, student: int, base: TrialConfig) -> dict[str, Any]:
    """Settings of a teacher model of this width for a student of that width, trained for as many steps as the student.

    With Adam the best learning rate falls as 1 / width (muP; Yang et al., 2022, "Tensor Programs V"), so the teacher's
    is the student's, times the student's width over its own.
    """
    model = {"hidden": width, "steps": base.loop.steps, "lr": base.optimizer.lr * student / width}
    return {"teacher.kind": "model", **{f"teacher.model.{key}": value for key, value in model.items()}}


if __name__ == "__main__":
    sys.exit(main(small_teacher, TeachersOptions, __doc__))
