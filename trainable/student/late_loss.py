"""Loss and gradient norm of each step, read without waiting: at once on a CPU, one step later on a GPU.

To read them at once, the host would wait until the GPU has done the step, and the GPU would then wait until the host
has prepared the next step. One step later the values are ready while the GPU is busy with the next step. Messages on
a loss stay correct: the number, learning rate and teacher weight of its step are kept with the loss.
"""

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from trainable.errors import TrainingDiverged
from trainable.student.checkpoint import RunState


@dataclass(frozen=True)
class _Pending:
    loss_and_norm: Tensor  # on the host; valid only after `ready`
    ready: torch.cuda.Event | None
    step: int
    lr: float
    weight: float


class StepLosses:
    """Adds loss and gradient norm of each step to the `recent` fields of `state` once they can be read."""

    def __init__(self, state: RunState, clip_norm: float):
        self._state, self._clip_norm = state, clip_norm
        self._pending: deque[_Pending] = deque()

    def add(self, loss: Tensor, norm: Tensor, step: int, lr: float, weight: float) -> None:
        """Take the mean loss of a step, nats per token, and the norm of its whole gradient before clipping.

        Raises TrainingDiverged if a loss that is read now is not finite.
        """
        ready, values = None, torch.stack([loss, norm])
        if values.device.type == "cuda":
            values = torch.empty(2, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record()
        self._pending.append(_Pending(values, ready, step, lr, weight))
        self._read(all_but=0 if ready is None else 1)

    def read_all(self) -> None:
        """Wait for the last step, and read its loss. Raises TrainingDiverged if a loss is not finite."""
        self._read(all_but=0)

    def _read(self, all_but: int) -> None:
        while len(self._pending) > all_but:
            step = self._pending.popleft()
            if step.ready is not None:
                step.ready.synchronize()
            loss, norm = step.loss_and_norm.tolist()
            check_finite("training loss", loss, step.step, step.lr, step.weight)
            self._state.recent_loss += loss
            if math.isfinite(norm):
                self._state.recent_norm += norm
                self._state.recent_norms += 1
                self._state.recent_clipped += norm > self._clip_norm


def check_finite(name: str, loss: float, step: int, lr: float, weight: float) -> None:
    """Raise TrainingDiverged unless the loss is finite."""
    if not math.isfinite(loss):
        raise TrainingDiverged(
            f"{name} is {loss} at step {step} (learning rate {lr:.3g}, teacher weight {weight:.3g}): "
            "lower optimizer.lr or optimizer.clip_norm, or raise optimizer.warmup_steps.",
            step,
        )
