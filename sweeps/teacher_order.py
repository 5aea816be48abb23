"""Dose and response: does a teacher that knows more of the text teach more?

    python sweeps/teacher_order.py --corpus my_books.parquet      # some 80 minutes on 2 cores
    python sweeps/teacher_order.py --corpus my_books.parquet --set model.output_bias=unigram
    python sweeps/teacher_order.py --scale published --corpus my_books.parquet                # one GPU

What varies: the teacher, from one that knows nothing (uniform) over how often each token comes (unigram) to n-grams of
order 2 to 5. Every arm is tuned alike at half length on one seed, and its winner runs at full length on 3 fresh seeds,
as in sweeps/content.py. What is fixed: 1 layer, linear schedule, floor 0, modified Kneser-Ney counted on the student's
own rows, one epoch at most.
"""

import sys
from dataclasses import dataclass

from sweeps.content_gate import BETA2
from sweeps.engine.cli import main
from sweeps.engine.protocol import CONTROL, named_arms, protocol_arm, protocol_base, protocol_sweep
from sweeps.engine.specs.search import MARGIN, Sweep
from sweeps.engine.specs.teachers import TEACHERS
from sweeps.engine.study import StudyOptions

QUESTION = "Does a teacher that knows more of the text teach a student more?"
SEEDS = (1, 2, 3)
ORDERED = ("uniform", "unigram", "bigram", "trigram", "4-gram", "5-gram")


@dataclass(frozen=True, kw_only=True)
class OrderOptions(StudyOptions):
    """What every study understands, and the margin of the verdict."""

    margin: float = MARGIN
    """least mean gain that is called a help, nats per token"""


def teacher_order(options: OrderOptions) -> Sweep:
    """Seven arms at 1 layer: tuned at half length, claimed at full length."""
    base = protocol_base(options, options.steps, {"optimizer.beta2": BETA2[-1]})
    arms = [
        protocol_arm(name, changes, base, options.seeds or SEEDS, smoke_test=options.smoke_test)
        for name, changes in ((CONTROL, {}), *((name, TEACHERS[name]) for name in ORDERED))
    ]
    return protocol_sweep(
        "teacher_order", QUESTION, base, named_arms("teacher_order", tuple(arms), options.arms), options.margin
    )


if __name__ == "__main__":
    sys.exit(main(teacher_order, OrderOptions, __doc__))
