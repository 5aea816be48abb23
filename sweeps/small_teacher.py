"""Can a small language model teach a larger one, its own training counted in, and better than a trigram does?

    python sweeps/small_teacher.py --corpus my_books.parquet      # some 60 minutes on 2 cores
    python sweeps/small_teacher.py --corpus my_books.parquet --set model.output_bias=unigram
    python sweeps/small_teacher.py --scale published --corpus my_books.parquet                # one GPU

What varies: the teacher: none, uniform, a trigram table, and a trained model of a quarter and of half the student's
width. Each model is trained once on the student's rows, for as many steps as the student, and answers once for all
trials; the report gives the seconds that this took, and the seconds saved net of them. Every arm is tuned alike at half
length on one seed, and its winner runs at full length on 3 fresh seeds, as in sweeps/content.py. What is fixed: the
student (1 layer), linear schedule, floor 0, one epoch at most.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeps.content_gate import BETA2
from sweeps.engine.cli import main
from sweeps.engine.protocol import CONTROL, named_arms, protocol_arm, protocol_base, protocol_sweep
from sweeps.engine.specs.search import MARGIN, Sweep
from sweeps.engine.specs.teachers import TEACHERS
from sweeps.engine.study import Scale, StudyOptions
from trainable.config import TrialConfig

QUESTION = "Can a small language model teach a larger one, its own training counted in?"
SEEDS = (1, 2, 3)
WIDTHS: Mapping[Scale, tuple[int, int]] = {"laptop": (32, 64), "published": (256, 512)}  # of students of 128 and 1,024


@dataclass(frozen=True, kw_only=True)
class SmallTeacherOptions(StudyOptions):
    """What every study understands, and the margin of the verdict."""

    margin: float = MARGIN
    """least mean gain that is called a help, nats per token"""


def small_teacher(options: SmallTeacherOptions) -> Sweep:
    """Five arms at 1 layer: tuned at half length, claimed at full length."""
    base = protocol_base(options, options.steps, {"optimizer.beta2": BETA2[-1]})
    models = {f"model {width}": model_of(width, base) for width in WIDTHS[options.scale]}
    teachers: dict[str, Mapping[str, Any]] = {CONTROL: {}, "uniform": TEACHERS["uniform"]}
    teachers |= {"trigram": TEACHERS["trigram"], **models}
    arms = [
        protocol_arm(name, changes, base, options.seeds or SEEDS, smoke_test=options.smoke_test)
        for name, changes in teachers.items()
    ]
    named = named_arms("small_teacher", tuple(arms), options.arms)
    return protocol_sweep("small_teacher", QUESTION, base, named, options.margin)


def model_of(width: int, base: TrialConfig) -> dict[str, Any]:
    """A teacher of one layer that is trained as long as the student, at the student's rate."""
    model = {"hidden": width, "steps": base.loop.steps, "lr": base.optimizer.lr}
    return {"teacher.kind": "model", **{f"teacher.model.{key}": value for key, value in model.items()}}


if __name__ == "__main__":
    sys.exit(main(small_teacher, SmallTeacherOptions, __doc__))
