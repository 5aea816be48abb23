"""ASHA within each group. It corrects Ray's AsyncHyperBandScheduler where that would be wrong for these sweeps:

- it ranks only trials of one group: of one depth, because depth lowers the loss far more than any schedule, and of one
  arm, because a better rival must not stop the trials of an arm;
- it judges a trial only once its own teacher's schedule has ended, among trials whose schedules have ended too;
- it never stops a reference control, and never judges confirmations, which must run to their end;
- it judges a trial exactly at a rung, and once: a late report cannot fill a rung with a later, better value;
- it records its decisions in asha.jsonl in the run folder, so that a resumed sweep judges by all earlier reports.

Rungs and cutoffs are Ray's own (`_Bracket`).
"""

import math
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket

from sweeps.engine.specs.asha_spec import AshaSpec
from sweeps.engine.specs.groups import CHOOSING
from trainable import names
from trainable.plan import TrialPlan
from trainable.record.ledger import read_lines
from trainable.record.run_files import RunFiles

_TRIAL, _LAYERS, _ARM, _STOP = "trial", "layers", "arm", "stop"
GroupKey = tuple[int, str]  # depth, arm


class GroupAsha(AsyncHyperBandScheduler):  # type: ignore[misc]
    """Scheduler that stops searched trials whose gain falls behind their group, after their own schedule has ended."""

    def __init__(self, asha: AshaSpec, steps: int, files: RunFiles):
        super().__init__(
            time_attr=names.STEP,
            metric=names.GAIN,
            mode="max",
            max_t=steps,
            grace_period=asha.grace_period,
            reduction_factor=asha.reduction_factor,
            stop_last_trials=False,
        )
        self._asha = asha
        self._files = files
        self._rungs = set(asha.rungs(steps))
        self._groups: dict[GroupKey, _Bracket] = {}
        self._stopped: set[str] = set()
        for row in read_lines(files.fetched(names.RUNGS_FILE)):
            self._recorded((row[_LAYERS], row[_ARM]), row[names.STEP])[row[_TRIAL]] = row[names.GAIN]
            if row[_STOP]:
                self._stopped.add(row[_TRIAL])

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept the metric that a Tuner names, and change nothing: the metric is fixed."""
        return True

    def has_stopped(self, name: str) -> bool:
        """Whether ASHA has stopped the trial of this name, under this driver or an earlier one."""
        return name in self._stopped

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Do nothing: a trial enters its group's bracket at its first rung."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Return STOP if the trial is below its group's cutoff at a rung, else CONTINUE."""
        plan = TrialPlan.from_dict(trial.config["plan"])
        step, gain = result[names.STEP], result[names.GAIN]
        is_searched, has_ended = plan.config.corpus.eval_half == CHOOSING, step >= plan.config.teacher.steps
        if not (is_searched and has_ended and step in self._rungs and math.isfinite(gain)):
            return str(TrialScheduler.CONTINUE)
        return self.judge(plan, step, gain)

    def judge(self, plan: TrialPlan, step: int, gain: float) -> str:
        """Record a trial's gain at a rung and decide; a trial that reaches the rung again gets its first decision."""
        name, key = plan.name, (plan.config.model.layers, plan.arm)
        recorded = self._recorded(key, step)
        if name in recorded:
            return str(TrialScheduler.STOP if name in self._stopped else TrialScheduler.CONTINUE)
        cutoff = float(self._groups[key].cutoff(recorded)) if recorded else None
        stop = plan.role == names.SEARCH and cutoff is not None and gain < cutoff
        recorded[name] = gain
        if stop:
            self._stopped.add(name)
        layers, arm = key
        self._files.append_row(
            names.RUNGS_FILE,
            {
                **{_TRIAL: name, _LAYERS: layers, _ARM: arm, names.STEP: step, names.GAIN: gain},
                **{"cutoff": cutoff, _STOP: stop},
            },
        )
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Do nothing: the end of a trial is not a rung."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Do nothing: no state is kept for a trial before its first report."""

    def _recorded(self, key: GroupKey, rung: int) -> dict[str, float]:
        if key not in self._groups:
            self._groups[key] = _Bracket(
                self._asha.grace_period, self._max_t, self._asha.reduction_factor, 0, stop_last_trials=False
            )
        recorded: dict[str, float] = dict(self._groups[key]._rungs)[rung]
        return recorded
