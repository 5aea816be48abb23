"""A process that measures steps: it runs the trials' own loop on stand-in data and tells what a step took.

The parent (calibration.py) starts as many as trials will run at once, and sends each the same task at the same moment,
for processes that run together share the machine's memory bandwidth and caches. Tasks come in as pickles on standard
input, rates go out as pickles on what was standard output; at the end of the input the process ends.
"""

import os
import pickle
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from trainable import names
from trainable.config import TrialConfig
from trainable.errors import first_line

if TYPE_CHECKING:
    from trainable.student.train import Report, RunData

WARM_REPORTS = 2  # reports whose steps are not counted: kernels are chosen, memory is taken
MOST_REPORTS = 8
PATIENCE = 5  # times the seconds of a task after which slow steps count as they are, without a warm-up


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Seconds that trials of one shape take."""

    step: float
    evaluation: float  # of one validation block
    checkpoint: float
    start: float  # of a trial in a process that has run such trials before: its model is made
    warm_up: float  # once in a process: kernels are chosen for this shape


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to measure: a trial's settings and data, and for how long."""

    config: TrialConfig
    data: "RunData"
    seconds: float
    threads: int


class _Enough(Exception):
    """Ends the loop when the reports say enough."""


def measured(task: Task) -> Rate:
    """Run the first steps of a trial, and take the median step, evaluation and checkpoint after the warm-up."""
    import torch

    from trainable.student.model import build_model
    from trainable.student.train import Report, train
    from trainable.student.unigram import log_unigram

    torch.set_num_threads(task.threads)
    config, data = task.config, task.data
    begun = time.perf_counter()
    build_model(
        config.model,
        vocab_size=data.train.vocab_size,
        context=config.tokens.context,
        seed=0,
        unigram_V=log_unigram(data.train),
    )
    start = time.perf_counter() - begun
    reports: list[tuple[float, Report]] = []

    def report(row: Report) -> None:
        reports.append((time.perf_counter() - begun, row))
        spent = reports[-1][0]
        if spent > (task.seconds if len(reports) > WARM_REPORTS + 1 else PATIENCE * task.seconds) and len(reports) > 1:
            raise _Enough

    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="calibration-") as folder, suppress(_Enough):
        train(config, data, report, Path(folder) / "checkpoint")
    return rate_of(reports, config, len(data.eval.ids_BxT), start)


def rate_of(reports: "list[tuple[float, Report]]", config: TrialConfig, eval_blocks: int, start: float) -> Rate:
    """The rate that reports show: (seconds since the trial began, report) at step 0 and later ones."""
    every = config.loop.eval_every
    steps, evaluations, others = [], [], []
    for (was, before), (now, after) in pairwise(reports):
        steps.append((after[names.TRAIN_SECONDS] - before[names.TRAIN_SECONDS]) / every)
        evaluations.append(after[names.EVAL_SECONDS] - before[names.EVAL_SECONDS])
        saved = after[names.STEP] % config.loop.checkpoint_every == 0
        others.append((saved, now - was - every * steps[-1] - evaluations[-1]))
    counted = slice(WARM_REPORTS, None) if len(steps) > WARM_REPORTS else slice(-1, None)
    step, evaluation = median(steps[counted]), median(evaluations[counted])
    saving, beside = ([seconds for saved, seconds in others if saved == wanted] for wanted in (True, False))
    first = reports[0][0] - evaluation - start
    late = sum(steps[:WARM_REPORTS]) * every - min(len(steps), WARM_REPORTS) * every * step
    return Rate(
        step=step,
        evaluation=evaluation / eval_blocks,
        checkpoint=max(0.0, median(saving or [0.0]) - median(beside or [0.0])),
        start=start,
        warm_up=max(0.0, first + late),
    )


def serve() -> None:
    """Tell the processor time that the imports of a trial took, then answer tasks until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    import trainable.trial  # noqa: F401  (what a trial's process imports)

    pickle.dump(time.process_time(), answers)
    answers.flush()
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: Rate | str = measured(task)
        except Exception as error:  # a trial would fail of it too; the parent says so
            answer = first_line(error)
        pickle.dump(answer, answers)
        answers.flush()
