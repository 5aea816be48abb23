"""The searcher's finished trials as an Optuna journal, for optuna-dashboard and Optuna's own plots.

    optuna-dashboard results/<study>/<run>/optuna.journal

The journal is only a copy. The Optuna studies that propose settings are in memory and are filled from the ledgers,
because an external storage breaks resumption. The journal is read back only at the start of a driver: if it is damaged,
or has trials that the ledgers do not have, it is made again from them.
"""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.engine.order.trial_order import Record
from trainable import names
from trainable.record.run_files import RunFiles

NAME = "trial"  # user attribute: the trial's name in the run
_STATES = {names.FINISHED: TrialState.COMPLETE, names.STOPPED: TrialState.PRUNED, names.FAILED: TrialState.FAIL}
_log = logging.getLogger(__name__)


class StudyJournal:
    """Optuna journal of one run, with an Optuna study for each group, named by study, run, depth and arm.

    run: study and name with which the run began; a copy of its folder keeps them.
    """

    def __init__(self, files: RunFiles, run: str):
        self._files = files
        self._path = files.path / names.JOURNAL_FILE
        self._run = run
        self._studies: dict[str, optuna.Study] = {}

    def start(self, groups: Mapping[str, Sequence[FrozenTrial]]) -> None:
        """Make the file hold exactly these trials, by the name of their group; those in it already stay unchanged."""
        with self._files.writing():
            self._start(groups)

    def _start(self, groups: Mapping[str, Sequence[FrozenTrial]]) -> None:
        for lock in self._path.parent.glob(f"{self._path.name}.lock*"):  # a killed driver's: this one locked the run
            lock.unlink(missing_ok=True)
        if self._path.exists() and not self._tells_nothing_else(groups):
            _log.warning(
                "%s is damaged or does not match the run's ledgers: it is made again from them.",
                self._files.shown(self._path),
            )
            self._path.unlink()
        self._studies = {group: self._study(group) for group in groups}
        for group, trials in groups.items():
            known = {trial.user_attrs[NAME] for trial in self._studies[group].trials}
            for trial in trials:
                if trial.user_attrs[NAME] not in known:
                    self._studies[group].add_trial(trial)

    def add(self, group: str, trial: FrozenTrial) -> None:
        """Add a trial of the group that has ended."""
        with self._files.writing():
            self._studies[group].add_trial(trial)

    def _study(self, group: str) -> optuna.Study:
        name = self._name(group)
        study = optuna.create_study(storage=self._storage(), study_name=name, direction="maximize", load_if_exists=True)
        if study.metric_names is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([names.GAIN])
        return study

    def _name(self, group: str) -> str:
        return f"{self._run} {group}"

    def _storage(self) -> JournalStorage:
        path = str(self._path)
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileSymlinkLock(path)))

    def _tells_nothing_else(self, groups: Mapping[str, Sequence[FrozenTrial]]) -> bool:
        """Whether the whole file can be read, and all its trials are in the ledgers too."""
        expected = {self._name(group): {_said(t) for t in trials} for group, trials in groups.items()}
        try:
            if not self._path.read_bytes().endswith(b"\n"):  # a next line would be joined to half a line
                return False
            storage = self._storage()
            found = {
                study.study_name: [_said(trial) for trial in storage.get_all_trials(study._study_id)]
                for study in storage.get_all_studies()
            }
        except Exception:  # a damaged line can raise any error, anywhere in Optuna
            return False
        return all(set(said) <= expected.get(name, set()) for name, said in found.items())


def mirrored(record: Record, parameters: Mapping[str, Any], kinds: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """An ended trial as Optuna stores it: its parameters, its gains by step, and its final gain if it finished."""
    trial = create_trial(
        state=_STATES[record.state],
        value=record.gains[record.last_step] if record.state == names.FINISHED else None,
        params=dict(parameters),
        distributions={key: _reaching(kind, parameters[key]) for key, kind in kinds.items()},
        intermediate_values=record.gains,
        user_attrs={NAME: record.plan.name},
    )
    if record.times:  # for the dashboard's timeline
        times = [datetime.fromtimestamp(seconds) for seconds in record.times.values()]
        trial.datetime_start, trial.datetime_complete = min(times), max(times)
    return trial


def _reaching(kind: BaseDistribution, value: Any) -> BaseDistribution:
    """The distribution, widened if the value lies outside, as one more learning rate does."""
    if isinstance(kind, FloatDistribution) and not kind.low <= value <= kind.high:
        return FloatDistribution(min(kind.low, value), max(kind.high, value), log=kind.log)
    return kind


def _said(trial: FrozenTrial) -> str:
    """Content of a trial in the journal as text, without its number and the times of writing."""
    gains = sorted(trial.intermediate_values.items())
    return json.dumps([trial.user_attrs[NAME], trial.state.name, trial.value, trial.params, gains], sort_keys=True)
