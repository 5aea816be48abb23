"""Give Tune the trials of a run in order: the class that all orders share, and the order of a plain list.

A subclass decides which trial comes next (`_next`): `SearchOrder` (order/search.py) searches, `ListOrder` goes through
a list. A guided trial starts only when its control has finished, because its gain is measured against the control's
ledger.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ray.tune.search import Searcher

from sweeps.engine.folder import RunFolder
from sweeps.engine.specs.comparison import Comparison
from trainable import names
from trainable.plan import TrialPlan
from trainable.record.trial_files import diverged, diverged_at


@dataclass(kw_only=True)
class Record:
    """State of a trial in this driver: its plan, its state in names.py, and its reports by step."""

    plan: TrialPlan
    state: str = names.RUNNING
    gains: dict[int, float] = field(default_factory=dict)  # step -> gain, if it is finite
    times: dict[int, float] = field(default_factory=dict)  # step -> when it was reported, seconds since the epoch
    diverged_at: int | None = None  # step of the first report that is not finite

    def book(self, report: Mapping[str, Any]) -> None:
        """Add a report: a row of the ledger, or the same values as Tune passes them on."""
        if self.diverged_at is None:
            self.diverged_at = diverged_at([dict(report)])
        if (gain := report[names.GAIN]) is not None and math.isfinite(gain):
            self.gains[report[names.STEP]] = gain
        self.times[report[names.STEP]] = report[names.TIMESTAMP]

    @property
    def ended(self) -> bool:
        """Whether the trial will report no more."""
        return self.state != names.RUNNING

    @property
    def last_step(self) -> int:
        """Step of the last report; -1 without any."""
        return max(self.times, default=-1)


class TrialOrder(Searcher):  # type: ignore[misc]
    """Order of a run's trials, as the searcher that Tune asks for them."""

    def __init__(
        self,
        folder: RunFolder,
        checksums: Mapping[str, str],
        stopped: Callable[[str], bool],
        most_in_flight: Callable[[], int],
    ):
        super().__init__(metric=names.GAIN, mode="max")
        self._folder = folder
        self._checksums = checksums
        self._stopped = stopped  # has ASHA stopped the trial of this name?
        self._most_in_flight = most_in_flight  # limit of trials given to Tune; it grows with the cluster
        self._records: dict[str, Record] = {}  # by name
        self._running: dict[str, str] = {}  # Tune's trial id -> name
        self._resumed: list[Record] = []
        self.exhausted = False  # whether every trial of the run has been given to Tune and has ended

    def take_over(self) -> None:
        """Read from the ledgers what earlier drivers did; called once, before Tune asks for a trial."""
        for plan, state, reports in self._folder.trials():
            record = Record(plan=plan, state=state)
            for row in reports:
                record.book(row)
            self._records[plan.name] = record
            self._on_taken_over(record)
            if not record.ended:
                self._resumed.append(record)

    # --- what a subclass says ---

    @abstractmethod
    def _next(self) -> TrialPlan | None:
        """The next trial that may start now; None where there is none (yet)."""

    def _on_taken_over(self, record: Record) -> None:
        """Hook for subclasses, called for each trial of an earlier driver."""

    def _on_ended(self, record: Record) -> None:
        """Hook for subclasses, called for each trial that ends."""

    # --- what Tune calls ---

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Config of the next trial; None while it must wait for others to end; FINISHED when no more will come."""
        self._close_without_control()
        if len(self._running) >= self._most_in_flight():  # a later proposal has learnt more
            return None
        plan = self._next_resumed() or self._next()
        if plan is None and not self._running:
            self.exhausted = True
            return str(Searcher.FINISHED)
        if plan is None:  # wait until a trial ends, which may bring new ones
            return None
        self._running[trial_id] = plan.name
        self._folder.open_trial(plan)
        return {"name": plan.name, "plan": plan.to_dict(), "checksums": dict(self._checksums)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Add a report to the record of its trial."""
        self._records[self._running[trial_id]].book(result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Write how a trial ended: finished, stopped by ASHA, failed; an interrupted one is left to a resumed run."""
        record = self._records[self._running.pop(trial_id)]
        if result is not None:  # the only place where Tune passes on the report at which ASHA stopped a trial
            record.book(result)
        if not error:  # after an error Tune passes on no more: `fail` closes the trial, or a resumed run does
            self._close(record, *self._how_it_ended(record))

    def _close(self, record: Record, state: str, reason: str) -> None:
        record.state = state
        if record.ended:
            self._folder.close_trial(record.plan, state, reason)
            self._on_ended(record)

    def _how_it_ended(self, record: Record) -> tuple[str, str]:
        state, reason = self._folder.status(record.plan.name)
        if state == names.FAILED:  # the trial said so itself
            return state, reason
        if record.diverged_at is not None:
            return names.FAILED, diverged(record.diverged_at)
        if record.last_step >= record.plan.config.loop.steps:
            return names.FINISHED, ""
        if self._stopped(record.plan.name):
            return names.STOPPED, f"stopped by ASHA at step {record.last_step}"
        return names.RUNNING, ""

    def fail(self, name: str, reason: str) -> None:
        """Close a trial as failed, after Tune has reported its end; reason: cause of its worker's last death."""
        self._close(self._records[name], names.FAILED, reason)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the ledgers are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: a resumed sweep has a new searcher, which reads the ledgers."""

    # --- what is known ---

    @property
    def ended(self) -> int:
        """Number of trials that have ended."""
        return sum(record.ended for record in self._records.values())

    def _begin(self, plan: TrialPlan) -> TrialPlan:
        self._records[plan.name] = Record(plan=plan)
        return plan

    def _may_start(self, plan: TrialPlan) -> bool:
        """Whether a trial may start: a control always, a guided trial once its control has finished."""
        return plan.role == names.CONTROL or self._state_of_control(plan) == names.FINISHED

    def _state_of_control(self, plan: TrialPlan) -> str | None:
        """State of a plan's control; None before it has begun."""
        control = self._records.get(plan.control)
        return control.state if control is not None else None

    def _close_without_control(self) -> None:
        """Fail the resumed trials whose control has failed: they would wait for ever."""
        for record in [r for r in self._resumed if self._state_of_control(r.plan) == names.FAILED]:
            self._resumed.remove(record)
            self._close(record, names.FAILED, f"its control {record.plan.control} failed")

    def _next_resumed(self) -> TrialPlan | None:
        for record in self._resumed:
            if self._may_start(record.plan):
                self._resumed.remove(record)
                return record.plan
        return None


class ListOrder(TrialOrder):
    """Order of a comparison: all its trials, in the order of the plan."""

    def __init__(
        self,
        comparison: Comparison,
        folder: RunFolder,
        checksums: Mapping[str, str],
        stopped: Callable[[str], bool],
        most_in_flight: Callable[[], int],
    ):
        super().__init__(folder, checksums, stopped, most_in_flight)
        self._plans = comparison.plans
        self.take_over()

    def _next(self) -> TrialPlan | None:
        waiting = (plan for plan in self._plans if plan.name not in self._records)
        return next((self._begin(plan) for plan in waiting if self._may_start(plan)), None)
