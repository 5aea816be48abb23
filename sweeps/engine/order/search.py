"""Order of a search: controls first, then guided trials in turn over depths, then the winners on fresh seeds.

Each depth has its own Optuna study (TPE; random search and the grid go through it too), so the searcher learns within
a depth and every depth gets the same number of guided trials. On resumption a study is told what the ledgers know; a
trial that ASHA stopped is told as pruned, never as finished with its early value.
"""

import random
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from sweeps.engine.folder import RunFolder
from sweeps.engine.order.journal import StudyJournal, mirrored
from sweeps.engine.order.trial_order import Record, TrialOrder
from sweeps.engine.specs.pairs import control_plan
from sweeps.engine.specs.search import Sweep, control_plans, guided_plan
from sweeps.engine.specs.space import points
from trainable import names
from trainable.config import override
from trainable.plan import TrialPlan

_ATTEMPTS = 20  # at a proposal the depth has not had yet, before one is taken from the shuffled grid
_RANDOM_TRIALS = 4  # of a depth before TPE begins to model


class DepthSearch:
    """The search for one depth's best schedule: `num_samples` different guided trials."""

    def __init__(self, sweep: Sweep, layers: int):
        self.layers = layers
        self.records: dict[str, Record] = {}
        self._sweep = sweep
        self._distributions = {key: p.distribution() for key, p in sweep.space.items()}
        seed = sweep.search_seed * 1000 + layers
        self._study = optuna.create_study(study_name=f"{layers} layers", direction="maximize", sampler=_tpe(seed))
        self._unasked = points(sweep.space)
        if sweep.search != "grid":
            random.Random(seed).shuffle(self._unasked)
        self._open: dict[str, optuna.Trial] = {}  # proposed, not ended

    @property
    def remaining(self) -> int:
        """Number of trials still to propose."""
        return self._sweep.num_samples - len(self.records)

    @property
    def ended(self) -> bool:
        """Whether all trials are proposed and have ended."""
        return self.remaining <= 0 and all(record.ended for record in self.records.values())

    def propose(self) -> TrialPlan:
        """Propose a schedule that this depth has not had: TPE's, or the next of the (shuffled) grid."""
        for _ in range(_ATTEMPTS if self._sweep.search == "optuna" else 0):
            trial = self._study.ask(self._distributions)
            plan = self._plan(trial.params)
            if plan.name not in self.records:
                return self._open_trial(trial, Record(plan=plan))
            self._tell_again(trial, self.records[plan.name])
        fresh = next(p for p in self._unasked if self._plan(p).name not in self.records)
        return self._open_trial(self._ask_for(fresh), Record(plan=self._plan(fresh)))

    def resume(self, record: Record) -> None:
        """Take over a trial of an earlier driver: ended, or to go on."""
        self._open_trial(self._ask_for(self._parameters(record.plan)), record)
        if record.ended:
            self.tell(record)

    def tell(self, record: Record) -> None:
        """Tell the Optuna study how a trial ended."""
        trial = self._open.pop(record.plan.name)
        for step, gain in sorted(record.gains.items()):
            trial.report(gain, step)
        if record.state == names.FINISHED:
            self._study.tell(trial, record.gains[record.last_step])
        else:
            self._study.tell(trial, state=TrialState.PRUNED if record.state == names.STOPPED else TrialState.FAIL)

    def mirrored(self, record: Record) -> FrozenTrial:
        """An ended trial, for the journal."""
        return mirrored(record, self._parameters(record.plan), self._distributions)

    def best(self) -> TrialPlan | None:
        """Finished trial with the largest final gain; None if none finished."""
        finished = [r for r in self.records.values() if r.state == names.FINISHED]
        return max(finished, key=lambda r: r.gains[r.last_step]).plan if finished else None

    def _plan(self, parameters: Mapping[str, Any]) -> TrialPlan:
        changes = {**parameters, "model.layers": self.layers}
        return guided_plan(self._sweep.base, names.SEARCH, changes)

    def _parameters(self, plan: TrialPlan) -> dict[str, Any]:
        return {key: getattr(plan.config.teacher, key.removeprefix("teacher.")) for key in self._distributions}

    def _tell_again(self, trial: optuna.Trial, known: Record) -> None:
        """A schedule proposed twice costs no training: the study hears the value it had, or that there is none yet."""
        if known.state == names.FINISHED:
            self._study.tell(trial, known.gains[known.last_step])
        else:
            self._study.tell(trial, state=TrialState.FAIL)

    def _ask_for(self, parameters: dict[str, Any]) -> optuna.Trial:
        """A trial of the study with the parameters given."""
        self._study.enqueue_trial(parameters)
        return self._study.ask(self._distributions)

    def _open_trial(self, trial: optuna.Trial, record: Record) -> TrialPlan:
        self._open[record.plan.name] = trial
        self.records[record.plan.name] = record
        return record.plan


class SearchOrder(TrialOrder):
    """Order of a search at each depth: its controls, its guided trials, its winner on fresh seeds."""

    def __init__(
        self,
        sweep: Sweep,
        folder: RunFolder,
        checksums: Mapping[str, str],
        stopped: Callable[[str], bool],
        most_in_flight: Callable[[], int],
    ):
        super().__init__(folder, checksums, stopped, most_in_flight)
        self._sweep = sweep
        self._depths = {layers: DepthSearch(sweep, layers) for layers in sweep.layers}
        record = folder.record()
        self._journal = StudyJournal(folder.files, f"{record.study} {record.run}")
        self.take_over()
        ended = {n: [d.mirrored(r) for r in d.records.values() if r.ended] for n, d in self._depths.items()}
        self._journal.start(ended)

    def _next(self) -> TrialPlan | None:
        return (
            self._next_control(self._sweep.base.seed)
            or self._next_guided()
            or self._next_confirmation()
            or next((plan for seed in self._sweep.confirm_seeds if (plan := self._next_control(seed))), None)
        )

    def _next_control(self, seed: int) -> TrialPlan | None:
        return next((self._begin(p) for p in control_plans(self._sweep, seed) if p.name not in self._records), None)

    def _next_guided(self) -> TrialPlan | None:
        """Next guided trial: of the depth that has had the fewest, among those whose control has finished."""
        ready = [d for d in self._depths.values() if d.remaining and self._has_control(d)]
        if not ready:
            return None
        depth = max(ready, key=lambda depth: depth.remaining)
        plan = depth.propose()
        self._records[plan.name] = depth.records[plan.name]
        return plan

    def _next_confirmation(self) -> TrialPlan | None:
        """The best schedule of a depth whose search has ended, on the next fresh seed whose control has finished."""
        for depth in self._depths.values():
            best = depth.best() if depth.ended else None
            if best is None:
                continue
            for seed in self._sweep.confirm_seeds:
                plan = guided_plan(best.config, names.CONFIRM, {"seed": seed})
                if plan.name not in self._records and self._may_start(plan):
                    return self._begin(plan)
        return None

    def _has_control(self, depth: DepthSearch) -> bool:
        control = control_plan(override(self._sweep.base, {"model.layers": depth.layers}))
        record = self._records.get(control.name)
        return record is not None and record.state == names.FINISHED

    def _on_taken_over(self, record: Record) -> None:
        if record.plan.role == names.SEARCH:
            self._depths[record.plan.config.model.layers].resume(record)

    def _on_ended(self, record: Record) -> None:
        if record.plan.role == names.SEARCH:
            depth = self._depths[record.plan.config.model.layers]
            depth.tell(record)
            self._journal.add(depth.layers, depth.mirrored(record))


def _tpe(seed: int) -> TPESampler:
    """TPE over all parameters jointly; running trials count as poor ones, so that parallel proposals spread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(multivariate=True, constant_liar=True, n_startup_trials=_RANDOM_TRIALS, seed=seed)
