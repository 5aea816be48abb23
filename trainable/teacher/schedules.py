"""Teacher weight and learning rate as pure functions of the optimizer step (the first step is 0).

To add a schedule: add its name to `config.Schedule` and its decay to `_DECAY`.
"""

import math
from collections.abc import Callable

from trainable.config import OptimizerConfig, TeacherConfig

# t: step, T: scheduling steps, tau: decay constant in steps (None: 1 % is left at t = T).
_DECAY: dict[str, Callable[[int, int, float | None], float]] = {
    "linear": lambda t, T, tau: 1 - t / T,
    "exponential": lambda t, T, tau: math.exp(-t / (tau or T / math.log(100))),
    "reciprocal": lambda t, T, tau: 1 / (1 + t / (tau or T / 99)),
    "step": lambda t, T, tau: 1.0,
}


def teacher_weight(step: int, teacher: TeacherConfig) -> float:
    """Weight w(t) of the teacher's distribution in the target, in [0, 1].

    Falls from 1 at t = 0 and is exactly `min_weight` for every t >= T = `teacher.steps`; 0 throughout for "none".
    """
    if teacher.schedule == "none":
        return 0.0
    if step >= teacher.steps:
        return teacher.min_weight
    return max(teacher.min_weight, _DECAY[teacher.schedule](step, teacher.steps, teacher.tau))


def learning_rate(step: int, optimizer: OptimizerConfig, total_steps: int) -> float:
    """Linear warm-up over `warmup_steps` to the peak, then a cosine that would reach 0 at `total_steps`."""
    if step < optimizer.warmup_steps:
        return optimizer.lr * (step + 1) / optimizer.warmup_steps
    progress = (step - optimizer.warmup_steps) / max(1, total_steps - optimizer.warmup_steps)
    return optimizer.lr * 0.5 * (1 + math.cos(math.pi * progress))
