"""Order of a search: reference controls, then searched trials from all groups in turn, then confirmations.

Each group has its own Optuna study (for TPE, random search and grid alike), so the searcher learns within a group and
every group gets the same number of trials. On resumption each study gets its trials from the ledgers. A trial that ASHA
stopped is passed on as pruned, never as finished with its early value.
"""

import random
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from sweeps.engine.folder import RunFolder
from sweeps.engine.order.journal import StudyJournal, mirrored
from sweeps.engine.order.trial_order import Record, TrialOrder
from sweeps.engine.specs.groups import CHOOSING, Group
from sweeps.engine.specs.search import Sweep
from sweeps.engine.specs.space import Point, points, snapped
from trainable import names
from trainable.plan import TrialPlan

_ATTEMPTS = 20  # at a proposal that is new to the group, before one is taken from the shuffled grid
_RANDOM_TRIALS = 4  # of a group before TPE begins to model


class GroupSearch:
    """The search for the best setting of one group, with as many different trials as every other group.

    The control's group begins with its reference, against which all gains of the depth are measured. If the sweep
    extends rates and the winner's is the lowest or the highest, the settings of one more rate follow.
    """

    def __init__(self, sweep: Sweep, group: Group):
        self.group = group
        self.records: dict[str, Record] = {}
        self._sweep = sweep
        self._distributions = {key: p.distribution() for key, p in group.arm.space.items()}
        seed = zlib.crc32(f"{sweep.search_seed} {group.name}".encode())
        self._study = optuna.create_study(study_name=group.name, direction="maximize", sampler=_tpe(seed))
        settings = points(group.arm.space)
        if sweep.search != "grid":
            random.Random(seed).shuffle(settings)
        self._unasked = {tuple(point.values()): point for point in settings}  # settings not yet proposed
        self._open: dict[str, optuna.Trial] = {}  # proposed, not ended
        self._told: set[str] = set()  # names of the trials in the Optuna study; those of one more rate are not in it
        self._more: list[Point] | None = None  # settings of one more rate; None until the search has ended

    @property
    def remaining(self) -> int:
        """Number of trials still to propose."""
        samples = self._sweep.samples(self.group.arm)
        return max(0, samples - len(self._told)) or sum(self._plan(p).name not in self.records for p in self._beyond())

    @property
    def ended(self) -> bool:
        """Whether all trials are proposed and have ended."""
        return self.remaining == 0 and all(record.ended for record in self.records.values())

    def propose(self) -> TrialPlan:
        """Propose a setting that is new to this group: from TPE, from the (shuffled) grid, or of one more rate."""
        if self.group.control is None and not self.records:
            return self._begin(self.group.reference)
        if len(self._told) >= self._sweep.samples(self.group.arm):
            return self._record(next(p for p in map(self._plan, self._beyond()) if p.name not in self.records))
        for _ in range(_ATTEMPTS if self._sweep.search == "optuna" else 0):
            trial = self._study.ask(self._distributions)
            plan = self._plan(snapped(self.group.arm.space, trial.params))
            if plan.name not in self.records:
                return self._open_trial(trial, Record(plan=plan))
            self._tell_again(trial, self.records[plan.name])
        return self._begin(next(iter(self._unasked.values())))

    def resume(self, record: Record) -> None:
        """Take over a trial of an earlier driver, ended or not."""
        point = self.group.parameters(record.plan)
        if tuple(point.values()) in self._unasked:
            self._open_trial(self._ask_for(point), record)
        else:
            self.records[record.plan.name] = record
        if record.ended:
            self.tell(record)

    def tell(self, record: Record) -> None:
        """Tell the Optuna study how a trial ended."""
        trial = self._open.pop(record.plan.name, None)
        if trial is None:  # of one more rate
            return
        for step, gain in sorted(record.gains.items()):
            trial.report(gain, step)
        if record.state == names.FINISHED:
            self._study.tell(trial, record.gains[record.last_step])
        else:
            self._study.tell(trial, state=TrialState.PRUNED if record.state == names.STOPPED else TrialState.FAIL)

    def mirrored(self, record: Record) -> FrozenTrial:
        """An ended trial, for the journal."""
        return mirrored(record, self.group.parameters(record.plan), self._distributions)

    def best(self) -> TrialPlan | None:
        """Finished trial with the largest final gain; None if none finished."""
        return self._best_of(self.records)

    def _best_of(self, chosen: Mapping[str, Record] | set[str]) -> TrialPlan | None:
        finished = [self.records[name] for name in chosen if self.records[name].state == names.FINISHED]
        return max(finished, key=lambda r: r.gains[r.last_step]).plan if finished else None

    def _beyond(self) -> list[Point]:
        """Settings of one more learning rate; none before the search has ended, or if the winner's is not at an end."""
        if self._more is None:
            searched = [self.records[name] for name in self._told]
            if len(searched) < self._sweep.samples(self.group.arm) or not all(record.ended for record in searched):
                return []
            best = self._best_of(self._told) if self._sweep.extend_rates else None
            self._more = [] if best is None else self.group.beyond(best)
        return self._more

    def _plan(self, point: Mapping[str, Any]) -> TrialPlan:
        return self.group.search_plan(point)

    def _tell_again(self, trial: optuna.Trial, known: Record) -> None:
        """Answer a repeated proposal without training: with the value that it had, or as failed without one."""
        if known.state == names.FINISHED:
            self._study.tell(trial, known.gains[known.last_step])
        else:
            self._study.tell(trial, state=TrialState.FAIL)

    def _ask_for(self, point: Point) -> optuna.Trial:
        """A new trial of the Optuna study, with the given setting."""
        self._study.enqueue_trial(point)
        return self._study.ask(self._distributions)

    def _begin(self, point: Point) -> TrialPlan:
        return self._open_trial(self._ask_for(point), Record(plan=self._plan(point)))

    def _open_trial(self, trial: optuna.Trial, record: Record) -> TrialPlan:
        del self._unasked[tuple(self.group.parameters(record.plan).values())]
        self._open[record.plan.name] = trial
        self._told.add(record.plan.name)
        self.records[record.plan.name] = record
        return record.plan

    def _record(self, plan: TrialPlan) -> TrialPlan:
        self.records[plan.name] = Record(plan=plan)
        return plan


class SearchOrder(TrialOrder):
    """Order of a search: the reference control of each depth, the groups' trials, the winners on fresh seeds."""

    def __init__(
        self,
        sweep: Sweep,
        folder: RunFolder,
        checksums: Mapping[str, str],
        stopped: Callable[[str], bool],
        most_in_flight: Callable[[], int],
    ):
        super().__init__(folder, checksums, stopped, most_in_flight)
        self._groups = {group.key: GroupSearch(sweep, group) for group in sweep.groups}
        record = folder.record()
        self._journal = StudyJournal(folder.files, f"{record.study} {record.run}")
        self.take_over()
        ended = {
            search.group.name: [search.mirrored(r) for r in search.records.values() if r.ended]
            for search in self._groups.values()
        }
        self._journal.start(ended)

    def _next(self) -> TrialPlan | None:
        return self._next_reference() or self._next_searched() or self._next_confirmation()

    def _next_reference(self) -> TrialPlan | None:
        """The reference control of a depth whose search has not begun; None if all have."""
        for search in self._groups.values():
            if search.group.control is None and not search.records:
                return self._known(search, search.propose())
        return None

    def _next_searched(self) -> TrialPlan | None:
        """Next searched trial, of the group with the most still to propose among those whose reference has finished."""
        ready = [search for search in self._groups.values() if search.remaining and self._has_reference(search)]
        if not ready:
            return None
        search = max(ready, key=lambda search: search.remaining)
        return self._known(search, search.propose())

    def _next_confirmation(self) -> TrialPlan | None:
        """Next confirmation that may start: the search of its group has ended, and its control has finished."""
        return next(
            (self._begin(p) for p in self._confirmations() if p.name not in self._records and self._may_start(p)), None
        )

    def _confirmations(self) -> Iterator[TrialPlan]:
        """Confirmations of groups whose search has ended, seed by seed: the control's first, then the other arms'."""
        for depth in dict.fromkeys(layers for layers, _ in self._groups):
            searches = [search for (layers, _), search in self._groups.items() if layers == depth]
            winners = [(search.group, search.best() if search.ended else None) for search in searches]
            (control, best), *others = winners
            if best is None:
                continue
            for seed in control.arm.seeds:
                own = control.confirmation_plan(best, seed, None)
                yield own
                for group, winner in others:
                    if winner is not None and seed in group.arm.seeds:
                        yield group.confirmation_plan(winner, seed, own)

    def _has_reference(self, search: GroupSearch) -> bool:
        control = (search.group.control or search.group).reference_name
        record = self._records.get(control)
        return record is not None and record.state == names.FINISHED

    def _known(self, search: GroupSearch, plan: TrialPlan) -> TrialPlan:
        self._records[plan.name] = search.records[plan.name]
        return plan

    def _search_of(self, plan: TrialPlan) -> GroupSearch | None:
        """The search that a trial belongs to; None for a confirmation."""
        if plan.config.corpus.eval_half != CHOOSING:
            return None
        return self._groups[plan.config.model.layers, plan.arm]

    def _on_taken_over(self, record: Record) -> None:
        if (search := self._search_of(record.plan)) is not None:
            search.resume(record)

    def _on_ended(self, record: Record) -> None:
        if (search := self._search_of(record.plan)) is not None:
            search.tell(record)
            self._journal.add(search.group.name, search.mirrored(record))


def _tpe(seed: int) -> TPESampler:
    """TPE over all parameters jointly; running trials count as poor ones, so that parallel proposals spread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(multivariate=True, constant_liar=True, n_startup_trials=_RANDOM_TRIALS, seed=seed)
