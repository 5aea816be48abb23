"""Early stopping as data: the steps at which ASHA judges the searched trials of a group, and the share that goes on."""

from collections.abc import Iterable
from dataclasses import dataclass

from trainable.config import LoopConfig
from trainable.errors import InputError


@dataclass(frozen=True, kw_only=True)
class AshaSpec:
    """Asynchronous successive halving: at each rung the best 1/reduction_factor of a group's judged trials goes on.

    The rungs are at steps grace_period, grace_period * reduction_factor, and so on. A trial is judged only once its own
    teacher's schedule has ended, among trials whose schedules have ended too: while a teacher is on, the loss does not
    show which trial will win.
    """

    grace_period: int  # optimizer steps before the first rung
    reduction_factor: int = 2

    def rungs(self, steps: int) -> list[int]:
        """Steps at which trials are judged, below the end of the run."""
        rungs, rung = [], self.grace_period
        while rung < steps:
            rungs.append(rung)
            rung *= self.reduction_factor
        return rungs

    def judged(self, schedule_ends: Iterable[int], steps: int) -> int:
        """Number of the schedules that end at these steps which ASHA can judge before the end of the run."""
        last = max(self.rungs(steps), default=-1)
        return sum(end <= last for end in schedule_ends)

    def check(self, loop: LoopConfig) -> None:
        """Raise InputError unless the rungs lie at evaluations before the end of a searched trial."""
        if self.reduction_factor < 2:
            raise InputError(f"ASHA's reduction factor is {self.reduction_factor}: give at least 2.")
        if self.grace_period < 1:
            raise InputError(f"ASHA's first rung is at step {self.grace_period}: give a grace period of at least 1.")
        if self.grace_period >= loop.steps:
            raise InputError(
                f"ASHA's first rung is at step {self.grace_period} of a search of {loop.steps} steps: nothing could be "
                "stopped; give an earlier rung, a longer run, or no ASHA."
            )
        missed = [rung for rung in self.rungs(loop.steps) if rung % loop.eval_every]
        if missed:
            raise InputError(
                f"ASHA's rungs {missed} are not evaluation steps: make the grace period a multiple of loop.eval_every "
                f"({loop.eval_every})."
            )
