"""Data of an optimizer step, which do not depend on the weights: its micro-batches and its teacher's rows.

For training on a GPU a side thread makes the data while the GPU is busy with earlier steps. The host's work for a step
(gather blocks, find and cut the rows of an n-gram table, read a model's answers from their file) costs the GPU no time
as long as it takes less time than a step. For training on a CPU the data are made when the step begins, because a side
thread would take its time from the step.

    A micro-batches of a step   B blocks   T tokens of a block minus 1
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

AHEAD: Final[Mapping[str, int]] = {"cpu": 0, "cuda": 2}  # {kind of device: number of steps made ahead}
Made = TypeVar("Made")


class StepData(NamedTuple):
    """The data of one optimizer step."""

    batches: list[Batch]  # this rank's micro-batches, [A]
    targets: int  # number of targets of all ranks together, without padding
    rows: StepRows | None  # the teacher's rows for all micro-batches; None: no rows, or weight 0


def step_data(
    blocks: TokenBlocks,
    config: TrialConfig,
    teacher: Teacher | None,
    device: torch.device,
    ranks: Ranks,
    dtype: torch.dtype,
    step: int,
) -> StepData:
    """Make the data of optimizer step `step` on `device`; the teacher's rows have `dtype`, as the output matrix has."""
    numbers_AxB = step_numbers(blocks, step, config.loop, config.seed)
    batches = [make_batch(blocks, ranks.share(numbers_B), device) for numbers_B in numbers_AxB]
    rows = None
    if isinstance(teacher, RowTeacher) and weight_at(config.teacher, step) > 0:
        rows = teacher.rows(*asked_about(batches), dtype)
    return StepData(batches, count_targets(blocks, numbers_AxB.flatten()), rows)


def weight_at(arm: TeacherConfig, step: int) -> float:
    """Weight w(t) of the teacher at an optimizer step."""
    return teacher_weight(step, arm.schedule, arm.steps, arm.min_weight, arm.tau)


def asked_about(batches: list[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """Input of a teacher in a step: the contexts [A, B, T], and the numbers [A, B] of their blocks."""
    return np.stack([batch.host_context_BxT for batch in batches]), np.stack([batch.numbers_B for batch in batches])


def made_ahead(make: Callable[[int], Made], first: int, last: int, ahead: int) -> Iterator[Made]:
    """Yield make(first), make(first + 1), ..., make(last - 1).

    A side thread makes up to `ahead` results before they are asked for; with 0 each is made when it is asked for. An
    error in `make` is raised when its result is asked for.
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
