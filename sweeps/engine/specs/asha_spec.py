"""Early stopping as data: at which steps ASHA judges the searched trials of a group, and how many of them go on."""

from collections.abc import Iterable
from dataclasses import dataclass

from trainable.config import LoopConfig
from trainable.errors import InputError


@dataclass(frozen=True, kw_only=True)
class AshaSpec:
    """Asynchronous successive halving: at steps grace, grace * factor, ... the top 1/factor of a group goes on.

    A trial is judged only once its own teacher's schedule has ended, among trials whose schedules have ended too: while
    a teacher is on, the loss does not tell who will win.
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
        """How many of the schedules that end at these steps can be judged before the end of the run."""
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
