"""Planned and existing trials of a run that is under way, by group, and an estimate of the time that is left.

A group here is a part of the run (search, or fresh seeds), a depth and an arm. The plan of a search is an estimate: the
search may add a few trials where a winner lies at an end of the values that were tried, and ASHA stops some trials.
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
IDLE_SECONDS: Final = 60.0  # longest pause between two reports of a run that counts in full, unless a trial is slower
RECENT_SECONDS: Final = 3600.0  # reports of this long before the last one give the pace
FEWEST_REPORTS: Final = 10  # in that time; where there are fewer, the pace is that of the whole run


class GroupKey(NamedTuple):
    """Key of a group: no two groups of a run have the same."""

    part: str
    layers: int
    arm: str


@dataclass(frozen=True)
class Plan:
    """A group: the number of its planned trials, and the trials that exist."""

    key: GroupKey
    planned: int
    steps: int  # optimizer steps of one trial
    trials: tuple[LiveTrial, ...]

    @property
    def ended(self) -> int:
        """Number of trials that have ended: finished, stopped or failed."""
        return sum(not trial.is_running for trial in self.trials)

    @property
    def running(self) -> int:
        """Number of trials that have begun and not ended."""
        return len(self.trials) - self.ended

    @property
    def left(self) -> int:
        """Number of planned trials that have not begun."""
        return self.planned - len(self.trials)

    def row(self) -> dict[str, Any]:
        """The group as plain values for the page; `best` is the finished trial with the lowest validation loss."""
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
    """The groups of a run in the order of its plan, then groups that exist without being planned."""
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
    """Yield (group, number of trials, steps of a trial); arms of a failed control, which never begin, are left out."""
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
    """Seconds from the last report to the end of the last trial, if the run goes on at the pace of the last hour.

    None before the first trial has reported a step. Search trials are expected to run, on average, the same share of
    their steps as the search trials that have ended: ASHA stops some of them early.
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
    """Speed of a run."""

    step_seconds: dict[int, float]  # depth -> seconds of a step, evaluations included
    mean: float  # seconds of a step, over all depths
    at_once: float  # mean number of trials at work


def _pace(trials: Sequence[LiveTrial]) -> Pace | None:
    """Pace of the last hour; of the whole run where the last hour has too few reports. None before any step."""
    every = [one for trial in trials for one in _worked(trial)]
    if not any(one.steps for one in every):
        return None
    last = max(one.until for one in every)
    recent = [one for one in every if one.since >= last - RECENT_SECONDS]
    if sum(one.steps > 0 for one in recent) < FEWEST_REPORTS:
        recent = every
    slowest = max(one.busy for one in every if one.steps)
    times = sorted({time for one in recent for time in (one.since, one.until)})
    # Between two drivers no trial is at work: a pause counts as no more than twice the slowest report.
    wall = sum(min(later - earlier, max(IDLE_SECONDS, 2 * slowest)) for earlier, later in pairwise(times))
    return Pace(
        step_seconds=_step_seconds(every) | _step_seconds(recent),  # a depth without a recent report keeps its old pace
        mean=sum(one.busy for one in recent) / sum(one.steps for one in recent),
        at_once=sum(one.busy for one in recent) / wall if wall > 0 else 1.0,
    )


class _Worked(NamedTuple):
    """The work of a trial between two of its reports, or before its first one (then `since` is `until`)."""

    layers: int
    since: float  # time of the earlier report, seconds since the epoch
    until: float
    steps: int
    busy: float  # seconds of training and evaluation


def _worked(trial: LiveTrial) -> Iterator[_Worked]:
    for number, row in enumerate(trial.reports):
        earlier = trial.reports[number - 1] if number else {**row, names.STEP: 0}
        busy = busy_seconds(row) - (busy_seconds(earlier) if number else 0.0)
        steps = int(row[names.STEP] - earlier[names.STEP])
        yield _Worked(trial.layers, earlier[names.TIMESTAMP], row[names.TIMESTAMP], steps, busy)


def _step_seconds(worked: Sequence[_Worked]) -> dict[int, float]:
    """Seconds of a step of each depth, evaluations included."""
    steps: Counter[int] = Counter()
    busy: dict[int, float] = {}
    for one in worked:
        steps[one.layers] += one.steps
        busy[one.layers] = busy.get(one.layers, 0.0) + one.busy
    return {layers: busy[layers] / count for layers, count in steps.items() if count}
