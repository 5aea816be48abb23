"""What an optimizer step reads: its micro-batches and its teacher's rows, none of which depends on the weights.

So on a GPU a side thread makes them while the GPU is busy with the steps before: the host's work for a step (gathering
blocks, finding and cutting the rows of an n-gram table, reading a model's answers from their file) costs the GPU no
time as long as it takes less than a step. On a CPU a trial has its cores to itself, and a step's data are made when the
step begins: a side thread would only take turns with it.

    A micro-batches of a step   B blocks   T tokens of a block less one
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

import numpy as np
import torch

from trainable.config import TeacherConfig, TrialConfig
from trainable.student.batches import Batch, count_targets, make_batch, step_numbers
from trainable.student.ranks import Ranks
from trainable.teacher.schedules import teacher_weight
from trainable.teacher.teacher import RowTeacher, StepRows, Teacher
from trainable.text.blocks import TokenBlocks

AHEAD: Final[Mapping[str, int]] = {"cpu": 0, "cuda": 2}  # steps, by kind of device
Made = TypeVar("Made")


class StepData(NamedTuple):
    """The data of one optimizer step."""

    batches: list[Batch]  # this rank's micro-batches, [A]
    targets: int  # of all ranks together; padding does not count
    rows: StepRows | None  # the teacher's, for all micro-batches; None: it has none, or its weight is 0


def step_data(
    blocks: TokenBlocks,
    config: TrialConfig,
    teacher: Teacher | None,
    device: torch.device,
    ranks: Ranks,
    dtype: torch.dtype,
    step: int,
) -> StepData:
    """The data of optimizer step `step` on `device`, the teacher's rows in `dtype`, that of the output matrix."""
    numbers_AxB = step_numbers(blocks, step, config.loop, config.seed)
    batches = [make_batch(blocks, ranks.share(numbers_B), device) for numbers_B in numbers_AxB]
    rows = None
    if isinstance(teacher, RowTeacher) and weight_at(config.teacher, step) > 0:
        rows = teacher.rows(*asked_about(batches), dtype)
    return StepData(batches, count_targets(blocks, numbers_AxB.flatten()), rows)


def weight_at(arm: TeacherConfig, step: int) -> float:
    """The teacher's weight at an optimizer step, w(t)."""
    return teacher_weight(step, arm.schedule, arm.steps, arm.min_weight, arm.tau)


def asked_about(batches: list[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """What a teacher is asked about for a step: the contexts [A, B, T], and the numbers [A, B] of their blocks."""
    return np.stack([batch.host_context_BxT for batch in batches]), np.stack([batch.numbers_B for batch in batches])


def made_ahead(make: Callable[[int], Made], first: int, last: int, ahead: int) -> Iterator[Made]:
    """make(first), make(first + 1), ... make(last - 1), in this order.

    A side thread makes up to `ahead` of them before they are asked for; with 0 each is made when it is asked for. An
    error of `make` is raised where its result is asked for.
    """
    if not ahead:
        yield from map(make, range(first, last))
        return
    with ThreadPoolExecutor(1, "step-data") as thread:
        waiting: deque[Future[Made]] = deque()
        try:
            for number in range(first, last):
                waiting.append(thread.submit(make, number))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            thread.shutdown(wait=False, cancel_futures=True)
