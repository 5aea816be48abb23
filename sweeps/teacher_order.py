#!/usr/bin/env python
"""Dose and response: does a teacher that knows more of the text teach more?

    python sweeps/teacher_order.py --corpus books.parquet  # 2 hours on 2 cores
    python sweeps/teacher_order.py --scale published  # a GPU, BookCorpus
    python sweeps/teacher_order.py --set model.output_bias=none  # no bias

What varies: the teacher: none; one that knows nothing (uniform); one that knows how often each token occurs (unigram);
n-grams of order 2 to 5. What is fixed: 1 layer, an output bias that starts at the log unigram in every student, linear
schedule, minimum weight 0, modified Kneser-Ney counted on the student's own rows, at most one epoch.

Every arm is tuned alike, on one seed and at full length: three learning rates times two warm-ups (no teacher) or two
numbers of scheduling steps (teachers). If the best rate is the lowest or the highest, one more rate is tried beyond it.
The winners then run on 3 fresh seeds and on validation text that chose nothing.
"""

import sys

from sweeps.engine.cli import main
from sweeps.engine.protocol import TeachersOptions, teachers_study
from sweeps.engine.specs.search import Sweep
from sweeps.engine.specs.teachers import TEACHERS

QUESTION = "Does a teacher that knows more of the text teach a student more?"
ORDERED = ("uniform", "unigram", "bigram", "trigram", "4-gram", "5-gram")


def teacher_order(options: TeachersOptions) -> Sweep:
    """Seven arms at 1 layer, tuned and confirmed at full length."""
    return teachers_study("teacher_order", QUESTION, options, lambda _: {name: TEACHERS[name] for name in ORDERED})


if __name__ == "__main__":
    sys.exit(main(teacher_order, TeachersOptions, __doc__))
