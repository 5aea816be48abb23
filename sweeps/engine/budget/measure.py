"""A process that measures steps: it runs the training loop of trials on stand-in data and times the steps.

For a model that teaches, it times the steps that train the model, and the model's answer to a block.

The parent (calibration.py) starts as many processes as trials will run at once, and sends each the same task at the
same moment, because processes that run together share the machine's memory bandwidth and caches. Tasks come in as
pickles on standard input; rates go out as pickles on what was standard output. The process ends when its input ends.
"""

import os
import pickle
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from trainable import names
from trainable.config import TrialConfig
from trainable.errors import first_line
from trainable.imports import garbage_collector_off

if TYPE_CHECKING:
    from torch.nn import Module

    from trainable.student.run_data import RunData
    from trainable.student.train import Report

WARM_REPORTS = 2  # first reports, whose steps are not counted: kernels are chosen, memory is allocated
MOST_REPORTS = 8
ASKED_BLOCKS = 32  # blocks that a model which teaches is asked about
PATIENCE = 5  # times a task's seconds, after which slow steps count although the warm-up has not ended


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Seconds that trials of one shape take."""

    step: float
    evaluation: float  # of one validation block
    checkpoint: float
    start: float  # of a trial in a process that has run such trials before: making the model
    warm_up: float  # once in a process: kernels are chosen for this shape
    answer: float = 0.0  # answer of a model that teaches to one block


@dataclass(frozen=True, kw_only=True)
class Task:
    """A measurement to make: settings and data of a trial, or of a model that teaches, and the time for it."""

    config: TrialConfig
    data: "RunData"
    seconds: float
    threads: int
    teaches: bool = False  # config trains the model of its teacher, or names the folder of one


class _Enough(Exception):
    """Raised to end the loop when there are enough reports."""


def measured(task: Task) -> Rate:
    """Measure the rate of a task's shape; of a model in a folder, which is not trained, only the answer."""
    import torch

    torch.set_num_threads(task.threads)
    if task.teaches and (folder := task.config.teacher.model.folder):
        from trainable.record.files import user_path
        from trainable.student.given_model import load_model

        answer = seconds_of_answer(load_model(user_path(folder)), task)
        return Rate(step=0.0, evaluation=0.0, checkpoint=0.0, start=0.0, warm_up=0.0, answer=answer)
    return rate_of_steps(task)


def rate_of_steps(task: Task) -> Rate:
    """Run the first steps of a trial, and take the median step, evaluation and checkpoint after the warm-up."""
    from trainable.student.model import build_model
    from trainable.student.train import Report, train
    from trainable.student.unigram import log_unigram

    config, data = task.config, task.data
    begun = time.perf_counter()
    model = build_model(
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
    rate = rate_of(reports, config, len(data.eval.ids_BxT), start)
    return replace(rate, answer=seconds_of_answer(model, task)) if task.teaches else rate


def seconds_of_answer(model: "Module", task: Task) -> float:
    """Seconds of a model's answer to one block; the first call, which also allocates memory, does not count."""
    from trainable.small_teacher import likeliest
    from trainable.student.train import pick_device

    loop, blocks = task.config.loop, task.data.train
    top_k, few = min(task.config.teacher.model.top_k, blocks.vocab_size), min(ASKED_BLOCKS, len(blocks.ids_BxT))
    model = model.to(pick_device(loop)).eval()
    seconds = 0.0
    for _ in range(2):
        begun = time.perf_counter()
        likeliest(model, blocks, (0, few), top_k, loop)
        seconds = time.perf_counter() - begun
    return seconds / few


def rate_of(reports: "list[tuple[float, Report]]", config: TrialConfig, eval_blocks: int, start: float) -> Rate:
    """Rate from a trial's reports: (seconds since the trial began, report), the first at step 0."""
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
    """Write the processor time that the imports of a trial took, then answer tasks until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    with garbage_collector_off():  # what a trial's process imports
        import trainable.shared_data
        import trainable.trial  # noqa: F401

    pickle.dump(time.process_time(), answers)
    answers.flush()
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: Rate | str = measured(task)
        except Exception as error:  # a trial would fail in the same way; the parent reports the error
            answer = first_line(error)
        pickle.dump(answer, answers)
        answers.flush()
