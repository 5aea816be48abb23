#!/usr/bin/env python
"""Dose and response: does a teacher that knows more of the text teach more?

    python sweeps/teacher_order.py --corpus books.parquet  # 2 hours on 2 cores
    python sweeps/teacher_order.py --scale published  # a GPU, BookCorpus
    python sweeps/teacher_order.py --set model.output_bias=none  # no bias

What varies: the teacher, from one that knows nothing (uniform) over how often each token comes (unigram) to n-grams of
order 2 to 5. Every arm is tuned alike at full length on one seed: three learning rates times two warm-ups (no teacher)
or two scheduling steps (teachers); a winner at an end of its rates gets one more rate. The winners then run on 3 fresh
seeds and on validation text that chose nothing. What is fixed: 1 layer, an output bias that starts at the log unigram
in every student, linear schedule, minimum weight 0, modified Kneser-Ney counted on the student's own rows,
one epoch at most.
"""

import sys

from sweeps.engine.cli import main
from sweeps.engine.protocol import ProtocolOptions, teachers_study
from sweeps.engine.specs.search import Sweep
from sweeps.engine.specs.teachers import TEACHERS

QUESTION = "Does a teacher that knows more of the text teach a student more?"
ORDERED = ("uniform", "unigram", "bigram", "trigram", "4-gram", "5-gram")


def teacher_order(options: ProtocolOptions) -> Sweep:
    """Seven arms at 1 layer, tuned and confirmed at full length."""
    return teachers_study("teacher_order", QUESTION, options, lambda _: {name: TEACHERS[name] for name in ORDERED})


if __name__ == "__main__":
    sys.exit(main(teacher_order, ProtocolOptions, __doc__))
