#!/usr/bin/env python
"""Can a small language model teach a larger one, its own training counted in, and better than a trigram does?

    python sweeps/small_teacher.py --corpus books.parquet  # 90 min on 2 cores
    python sweeps/small_teacher.py --scale published  # a GPU, BookCorpus
    python sweeps/small_teacher.py --set model.output_bias=none  # no bias

What varies: the teacher: none, uniform, a trigram table, and a trained model of a quarter and of half the student's
width. Each model is trained once on the student's rows, for as many steps as the student, and answers once for all
trials; the report gives the seconds that this took, and the seconds saved net of them. Arms are tuned and confirmed as
in sweeps/teacher_order.py, on 3 fresh seeds. What is fixed: the student (1 layer, an output bias that starts at the log
unigram), linear schedule, minimum weight 0, one epoch at most.
"""

import sys
from collections.abc import Mapping
from typing import Any

from sweeps.engine.cli import main
from sweeps.engine.protocol import ProtocolOptions, teachers_study
from sweeps.engine.specs.search import Sweep
from sweeps.engine.specs.teachers import TEACHERS
from sweeps.engine.study import Scale
from trainable.config import TrialConfig

QUESTION = "Can a small language model teach a larger one, its own training counted in?"
WIDTHS: Mapping[Scale, tuple[int, int]] = {"laptop": (32, 64), "published": (256, 512)}  # of students of 128 and 1,024


def small_teacher(options: ProtocolOptions) -> Sweep:
    """Five arms at 1 layer, tuned and confirmed at full length."""

    def teachers_of(base: TrialConfig) -> dict[str, Mapping[str, Any]]:
        models = {f"model {width}": model_of(width, base) for width in WIDTHS[options.scale]}
        return {"uniform": TEACHERS["uniform"], "trigram": TEACHERS["trigram"], **models}

    return teachers_study("small_teacher", QUESTION, options, teachers_of)


def model_of(width: int, base: TrialConfig) -> dict[str, Any]:
    """A teacher of one layer that is trained as long as the student, at the student's rate."""
    model = {"hidden": width, "steps": base.loop.steps, "lr": base.optimizer.lr}
    return {"teacher.kind": "model", **{f"teacher.model.{key}": value for key, value in model.items()}}


if __name__ == "__main__":
    sys.exit(main(small_teacher, ProtocolOptions, __doc__))
