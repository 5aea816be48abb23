"""Replay of ASHA over curves that ran in full: its rule, the groups that compete, and the outcome of random orders.

Trials with the same control (same depth, seed and fold) compete. Within such a group the order by gain at a step equals
the order by validation loss, so the loss decides. A search in groups compares the trials of one arm, judges each only
after the end of its own teacher, and never stops the reference control. Its replay does the same.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, product
from typing import Final

import numpy as np
import pandas as pd

from analysis.columns import ARM, CONTROL_NAME, LAYERS, ROLE, STATE, TEACHER_STEPS, TRIAL
from analysis.results import Results
from analysis.tables.group_search import searched
from trainable import names

GRACE: Final = "grace"
FACTOR: Final = "factor"
TRIALS: Final = "trials"
GROUPS: Final = "groups"
SPENT: Final = "spent"
SURVIVES: Final = "survives"
REGRET: Final = "regret"
OUTCOME: Final = [SPENT, SURVIVES, REGRET]
AHEAD: Final = "ahead"
_FROM, _SPARED = "judged_from", "is_spared"  # columns with the fields of Curve
GRACE_PERIODS: Final = 10  # largest number of grace periods to try, unless some are given
PACE_SPREAD: Final = (
    0.1  # largest relative difference in time a step between trials, which decides the order of arrival
)


@dataclass(frozen=True)
class Curve:
    """A trial that ran in full: its evaluations, in order of steps."""

    name: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    judged_from: int = 0  # no rung below this step judges it
    is_spared: bool = False  # whether the trial is judged but never stopped


@dataclass(frozen=True)
class Group:
    """Trials that compete: they have the same control and, in a search in groups, the same arm."""

    layers: int
    curves: tuple[Curve, ...]
    arm: str = ""  # in a search in groups

    @property
    def last_step(self) -> int:
        """The last step of all trials of the group."""
        return self.curves[0].steps[-1]


@dataclass
class Bracket:
    """ASHA's rule: a trial stops whose reward is below the (1 - 1/factor) quantile of earlier trials at the rung.

    A trial is judged once at each rung, at its first report there, by the trials that arrived before it. So the order
    of arrival matters, and the first trial always goes on. This is Ray's AsyncHyperBandScheduler with
    stop_last_trials=False.
    """

    grace: int
    factor: int
    last_step: int
    rungs: dict[int, dict[str, float]] = field(init=False)

    def __post_init__(self) -> None:
        number = int(np.log(self.last_step / self.grace) / np.log(self.factor) + 1)
        self.rungs = {self.grace * self.factor**k: {} for k in reversed(range(number))}

    def goes_on(self, trial: str, step: int, reward: float, judged_from: int = 0) -> bool:
        """Record a report, and return whether the trial goes on; rungs below `judged_from` do not judge it."""
        rung, reached = next(((at, recorded) for at, recorded in self.rungs.items() if at <= step), (0, None))
        if reached is None or trial in reached or rung < judged_from:
            return True
        cutoff = np.percentile(list(reached.values()), (1 - 1 / self.factor) * 100) if reached else -np.inf
        reached[trial] = reward
        return bool(reward >= cutoff)


def groups(results: Results, controls: bool = False, by_arm: bool = False) -> list[Group]:
    """Groups of at least two trials that ran in full and have the same control. controls: let controls compete too.

    by_arm: for a search in groups: search trials by arm, each judged only after the end of its own teacher.
    """
    if by_arm:
        return _of_groups(results)
    trials, curves = results
    full = trials[(trials[STATE] == names.FINISHED) & (trials[CONTROL_NAME] != "")]
    full = full if controls else full[full[ROLE] != names.CONTROL]
    return list(_competing(full.assign(**{_FROM: 0, _SPARED: False}), curves))


def _of_groups(results: Results) -> list[Group]:
    trials = searched(results.trials)
    full = trials[trials[STATE] == names.FINISHED]
    rules = {_FROM: full[TEACHER_STEPS].astype(int), _SPARED: full[ROLE] == names.CONTROL}
    return [
        replace(group, arm=str(arm))
        for arm, own in full.assign(**rules).groupby(ARM, sort=False)
        for group in _competing(own, results.curves)
    ]


def _competing(full: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Group]:
    """Yield the trials with the same control, where at least two ran to the same last step."""
    evaluated = curves[np.isfinite(curves[names.EVAL_LOSS]) & (curves[names.STEP] > 0)].sort_values(names.STEP)
    for _, members in full.groupby(CONTROL_NAME):
        read = []
        for row in members.to_dict("records"):
            own = evaluated[evaluated[TRIAL] == row[TRIAL]]
            steps, losses = tuple(map(int, own[names.STEP])), tuple(own[names.EVAL_LOSS])
            read.append(Curve(row[TRIAL], steps, losses, row[_FROM], row[_SPARED]))
        last = max((curve.steps[-1] for curve in read if curve.steps), default=0)
        whole = tuple(curve for curve in read if curve.steps and curve.steps[-1] == last)
        if len(whole) > 1:
            yield Group(int(members[LAYERS].iloc[0]), whole)


def lead(results: Results) -> pd.DataFrame:
    """Gain of the guided trials at each step, over trials that ran in full.

    One row a step: step, gain (mean, nats per token), ahead (trials with a gain above 0), trials.
    """
    trials, curves = results
    guided = trials.loc[(trials[STATE] == names.FINISHED) & (trials[ROLE] != names.CONTROL), TRIAL]
    rows = curves[curves[TRIAL].isin(guided) & np.isfinite(curves[names.GAIN]) & (curves[names.STEP] > 0)]
    rows = rows.assign(**{AHEAD: rows[names.GAIN] > 0})
    by_step = rows.groupby(names.STEP).agg(
        **{names.GAIN: (names.GAIN, "mean"), AHEAD: (AHEAD, "sum"), TRIALS: (TRIAL, "count")}
    )
    return by_step.reset_index()


def replay(
    found: list[Group], graces: Iterable[int], factors: Iterable[int], orders: int, slots: int, seed: int
) -> pd.DataFrame:
    """One row a depth, arm, grace period and factor, with groups, trials, spent, survives and regret.

    There is no column arm if no group has one. Numbers are means over groups and `orders` orders of arrival, the same
    orders for every choice. A group that ends at or before the grace period is left out: ASHA would judge nothing.
    """
    rows = []
    for (number, group), grace, factor in product(enumerate(found), graces, factors):
        if grace < group.last_step:
            outcomes = [play(group, grace, factor, slots, [seed, number, order]) for order in range(orders)]
            sizes = [group.layers, group.arm, grace, factor, 1, len(group.curves)]
            rows.append([*sizes, *np.mean(outcomes, axis=0)])
    table = pd.DataFrame(rows, columns=[LAYERS, ARM, GRACE, FACTOR, GROUPS, TRIALS, *OUTCOME])
    keys = [LAYERS, *([ARM] if any(group.arm for group in found) else []), GRACE, FACTOR]
    means = dict.fromkeys(OUTCOME, "mean")
    return table.groupby(keys).agg({GROUPS: "sum", TRIALS: "sum", **means}).reset_index()


def play(group: Group, grace: int, factor: int, slots: int, seed: list[int]) -> tuple[float, float, float]:
    """Replay one sweep of a group in a random order, `slots` trials at a time: spent, survives (0 or 1), regret."""
    ended_at = _ended_at(group, Bracket(grace, factor, group.last_step), slots, np.random.default_rng(seed))
    finals = {curve.name: curve.losses[-1] for curve in group.curves}
    best = min(finals.values())
    survivors = [loss for name, loss in finals.items() if ended_at[name] == group.last_step]
    spent = sum(ended_at.values()) / (group.last_step * len(group.curves))
    return spent, float(min(survivors) == best), min(survivors) - best


def _ended_at(group: Group, bracket: Bracket, slots: int, rng: np.random.Generator) -> dict[str, int]:
    """The step at which each trial ended. A free slot takes the next trial of the order; trials differ in pace."""
    curves = [group.curves[i] for i in rng.permutation(len(group.curves))]
    pace = dict(zip([curve.name for curve in curves], rng.uniform(1, 1 + PACE_SPREAD, len(curves)), strict=True))
    waiting, ended = iter(curves), {}
    running = [_report(curve, 0, 0.0, pace) for curve in islice(waiting, slots)]
    heapq.heapify(running)
    while running:
        now, name, number, curve = heapq.heappop(running)
        step = curve.steps[number]
        goes_on = step < group.last_step and bracket.goes_on(name, step, -curve.losses[number], curve.judged_from)
        if goes_on or (curve.is_spared and step < group.last_step):
            began = now - step * pace[name]
            heapq.heappush(running, _report(curve, number + 1, began, pace))
            continue
        ended[name] = step
        if (following := next(waiting, None)) is not None:
            heapq.heappush(running, _report(following, 0, now, pace))
    return ended


def _report(curve: Curve, number: int, began: float, pace: dict[str, float]) -> tuple[float, str, int, Curve]:
    """Time of the evaluation `number` of a trial that began at `began`, with its name, the number and the curve."""
    return began + curve.steps[number] * pace[curve.name], curve.name, number, curve


def grace_periods(found: list[Group]) -> list[int]:
    """Evaluation steps that all groups share, before the end: at most GRACE_PERIODS, evenly chosen."""
    shared = sorted(set.intersection(*(set(curve.steps) for group in found for curve in group.curves)))
    before = [step for step in shared if step < min(group.last_step for group in found)]
    chosen = np.unique(np.linspace(0, len(before) - 1, min(GRACE_PERIODS, len(before))).round().astype(int))
    return [before[i] for i in chosen]


def longest_schedules(loaded: list[Results]) -> dict[int, float]:
    """The longest schedule of each depth, in steps; empty if nothing was loaded."""
    if not loaded:
        return {}
    trials = pd.concat([results.trials[[LAYERS, ROLE, TEACHER_STEPS]] for results in loaded])
    guided = trials[trials[ROLE] != names.CONTROL].dropna()
    return {int(depth): float(steps) for depth, steps in guided.groupby(LAYERS)[TEACHER_STEPS].max().items()}
