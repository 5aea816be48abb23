"""Weight of the teacher: a pure function of the optimizer step (the first step is 0).

To add a schedule, add an entry to SCHEDULES: settings and command lines take their choices from its keys.

    t step   T scheduling steps   tau decay constant in steps (None: the weight is 0.01 at t = T)
"""

import math
from collections.abc import Callable

from trainable.errors import require, require_choice

# {schedule: weight at step t}, falling from 1 at t = 0; `teacher_weight` adds the minimum weight and the end at T.
SCHEDULES: dict[str, Callable[[int, int, float | None], float]] = {
    "none": lambda t, T, tau: 0.0,  # the control: no teacher, whatever the minimum weight
    "linear": lambda t, T, tau: 1 - t / T,
    "exponential": lambda t, T, tau: math.exp(-t / (tau or T / math.log(100))),
    "reciprocal": lambda t, T, tau: 1 / (1 + t / (tau or T / 99)),
    "step": lambda t, T, tau: 1.0,
}


def teacher_weight(step: int, schedule: str, steps: int, min_weight: float = 0.0, tau: float | None = None) -> float:
    """Weight w(t) of the teacher's distribution in the target at optimizer step `step` (the first is 0), in [0, 1].

    The weight falls from 1 at step 0 and is exactly `min_weight` from step `steps` on; with schedule "none" it is
    always 0. schedule: a key of SCHEDULES, such as linear, exponential, reciprocal or step. tau: decay constant, in
    steps, of exponential and reciprocal; None: the weight would be 0.01 at step `steps`.
    Raises InputError for an unknown schedule or a number out of range.
    """
    check_schedule(schedule, steps, min_weight, tau)
    if schedule == "none":
        return 0.0
    return min_weight if step >= steps else max(min_weight, SCHEDULES[schedule](step, steps, tau))


def check_schedule(schedule: str, steps: int, min_weight: float, tau: float | None) -> None:
    """Raise InputError for an unknown schedule or a number out of range."""
    require_choice("teacher.schedule", schedule, SCHEDULES)
    require(0 <= min_weight <= 1, f"teacher.min_weight is {min_weight}: give a weight between 0 and 1.")
    require(tau is None or tau > 0, f"teacher.tau is {tau}: give a positive number of steps.")
    require(steps >= 0, f"teacher.steps is {steps}: give at least 0 scheduling steps.")
    require(
        schedule == "none" or steps >= 1,
        f"teacher.steps is {steps} for the {schedule} schedule: give at least 1 scheduling step.",
    )
