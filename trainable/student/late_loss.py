"""The training loss of each step, read when it costs nothing: at once on a CPU, one step later on a GPU.

To read a step's loss at once, the host would wait until the GPU has done the step, and the GPU then for the host to
prepare the next one. Read a step later, the loss is there and the GPU is busy. What is said of it does not change: its
step's number, learning rate and teacher weight are kept beside it.
"""

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from trainable.student.checkpoint import RunState


class TrainingDiverged(RuntimeError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class _Pending:
    loss: Tensor  # on the host, but not there before `ready`
    ready: torch.cuda.Event | None
    step: int
    lr: float
    weight: float


class StepLosses:
    """Adds the loss of each step to `state.recent_loss` once it is read."""

    def __init__(self, state: RunState):
        self._state = state
        self._pending: deque[_Pending] = deque()

    def add(self, loss: Tensor, step: int, lr: float, weight: float) -> None:
        """Book the mean loss of a step, nats per token; raises TrainingDiverged for one that was read and is none."""
        ready = None
        if loss.device.type == "cuda":
            loss = torch.empty((), dtype=loss.dtype, pin_memory=True).copy_(loss, non_blocking=True)
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record()
        self._pending.append(_Pending(loss, ready, step, lr, weight))
        self._read(all_but=0 if ready is None else 1)

    def read_all(self) -> None:
        """Wait for the last step; raises TrainingDiverged where a loss is no number."""
        self._read(all_but=0)

    def _read(self, all_but: int) -> None:
        while len(self._pending) > all_but:
            step = self._pending.popleft()
            if step.ready is not None:
                step.ready.synchronize()
            check_finite("training loss", loss := step.loss.item(), step.step, step.lr, step.weight)
            self._state.recent_loss += loss


def check_finite(name: str, loss: float, step: int, lr: float, weight: float) -> None:
    """Raise TrainingDiverged unless the loss is finite."""
    if not math.isfinite(loss):
        raise TrainingDiverged(
            f"{name} is {loss} at step {step} (learning rate {lr:.3g}, teacher weight {weight:.3g}): "
            "lower optimizer.lr or optimizer.clip_norm, or raise optimizer.warmup_steps."
        )
