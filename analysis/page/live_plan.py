"""What a run was to have, by group, against what it has; and the time that is left, at the pace so far.

A group here is a part of the run (search, or fresh seeds), a depth and an arm. A search's plan is of its settings
alone: it may add a few trials where a winner lies at an end of what was tried, and ASHA makes some shorter.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

from analysis.page.live_trials import FRESH_PART, SEARCH_PART, LiveTrial, busy_seconds
from trainable import names
from trainable.record.run_record import RunRecord

ENDED: Final = (names.FINISHED, names.STOPPED, names.FAILED)
IDLE_SECONDS: Final = 60.0  # between two reports of a run; a longer pause counts as so much, unless a trial is slower


class GroupKey(NamedTuple):
    """What tells a group from the others."""

    part: str
    layers: int
    arm: str


@dataclass(frozen=True)
class Plan:
    """A group: how many trials it is to have, and those that it has."""

    key: GroupKey
    planned: int
    steps: int  # of one of its trials
    trials: tuple[LiveTrial, ...]

    @property
    def ended(self) -> int:
        """Trials that have ended, however they did."""
        return sum(not trial.is_running for trial in self.trials)

    @property
    def running(self) -> int:
        """Trials that were begun and have not ended."""
        return len(self.trials) - self.ended

    @property
    def left(self) -> int:
        """Trials that are still to begin."""
        return self.planned - len(self.trials)

    def row(self) -> dict[str, Any]:
        """The group as the page shows it; its best trial is that with the lowest loss among the finished ones."""
        finished = [trial for trial in self.trials if trial.status.state == names.FINISHED and trial.reports]
        best = min(finished, key=lambda trial: trial.reports[-1][names.EVAL_LOSS], default=None)
        states = Counter(trial.status.state for trial in self.trials)
        return {
            **self.key._asdict(),
            **{name: getattr(self, name) for name in ("planned", "ended", "running", "left")},
            "stopped": states[names.STOPPED],
            "failed": states[names.FAILED],
            "best": best and best.name,
            "best_loss": best and best.reports[-1][names.EVAL_LOSS],
        }


def plans_of(record: RunRecord, trials: Sequence[LiveTrial]) -> list[Plan]:
    """The groups of a run in the order of its plan; behind them any that it has beyond its plan."""
    have: dict[GroupKey, list[LiveTrial]] = {}
    for trial in trials:
        have.setdefault(GroupKey(trial.part, trial.layers, trial.arm), []).append(trial)
    planned: dict[GroupKey, tuple[int, int]] = {}
    for key, count, steps in _planned(record, {trial.name for trial in trials if _is_failed_control(trial)}):
        planned[key] = planned.get(key, (0, 0))[0] + count, steps
    beyond = {key: (0, own[0].steps) for key, own in have.items() if key not in planned}
    return [
        Plan(key, max(count, len(have.get(key, ()))), steps, tuple(have.get(key, ())))
        for key, (count, steps) in (planned | beyond).items()
    ]


def _is_failed_control(trial: LiveTrial) -> bool:
    return trial.role == names.CONTROL and trial.status.state == names.FAILED


def _planned(record: RunRecord, failed_controls: set[str]) -> Iterator[tuple[GroupKey, int, int]]:
    """(group, trials, steps of one); a comparison's arms whose control has failed never begin."""
    for plan in record.plans:
        settings = names.dotted(plan["config"])
        if plan["role"] == names.CONTROL or plan["control"] not in failed_controls:
            key = GroupKey("", settings["model.layers"], plan.get("arm") or plan["role"])
            yield key, 1, settings["loop.steps"]
    steps = int(names.dotted(record.base)["loop.steps"])
    search_steps = int(record.spec.get("search_steps") or steps)
    for layers in record.layers:
        for group in record.groups:
            wanted = min(record.num_samples, math.prod(map(len, group.space.values())))
            yield GroupKey(SEARCH_PART, layers, group.name), wanted, search_steps
    for layers in record.layers:
        for group in record.groups:
            yield GroupKey(FRESH_PART, layers, group.name), len(group.seeds), steps


def time_left(plans: Sequence[Plan], trials: Sequence[LiveTrial]) -> float | None:
    """Seconds from the last report to the end of the last trial, if all goes on at the pace so far.

    None before two reports of a trial. Trials of the search that ASHA may stop are taken to run as far as those that
    have ended did.
    """
    pace = _pace(trials)
    if pace is None:
        return None
    ended = [trial for trial in trials if trial.part == SEARCH_PART and trial.status.state in ENDED[:2]]
    share = sum(trial.step / trial.steps for trial in ended) / len(ended) if ended else 1.0
    left, longest = 0.0, 0.0
    for plan in plans:
        a_step = pace.step_seconds.get(plan.key.layers, pace.mean)
        whole = plan.steps * (share if plan.key.part == SEARCH_PART else 1.0) * a_step
        running = [(trial.steps - trial.step) * a_step for trial in plan.trials if trial.is_running]
        left += plan.left * whole + sum(running)
        longest = max([longest, *running, whole if plan.left else 0.0])
    return max(left / pace.at_once, longest)


class Pace(NamedTuple):
    """How fast a run goes."""

    step_seconds: dict[int, float]  # by depth: of a step, evaluations included
    mean: float  # over all depths
    at_once: float  # trials that were at work, on average


def _pace(trials: Sequence[LiveTrial]) -> Pace | None:
    busy: dict[int, float] = {}
    steps: dict[int, int] = {}
    for trial in trials:
        busy[trial.layers] = busy.get(trial.layers, 0.0) + (busy_seconds(trial.reports[-1]) if trial.reports else 0.0)
        steps[trial.layers] = steps.get(trial.layers, 0) + trial.step
    if sum(steps.values()) == 0:
        return None
    times = sorted(row[names.TIMESTAMP] for trial in trials for row in trial.reports)
    pairs = [pair for trial in trials for pair in pairwise(trial.reports)]
    slowest = max(busy_seconds(later) - busy_seconds(earlier) for earlier, later in pairs)
    # Between two drivers nobody works: a pause without any report counts as no more than the slowest report takes.
    wall = sum(min(later - earlier, max(IDLE_SECONDS, 2 * slowest)) for earlier, later in pairwise(times))
    total = sum(busy.values())
    return Pace(
        step_seconds={layers: busy[layers] / count for layers, count in steps.items() if count},
        mean=total / sum(steps.values()),
        at_once=total / wall if wall > 0 else 1.0,
    )
