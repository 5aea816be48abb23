"""What ASHA would have cost, replayed over curves that ran in full.

ASHA judges a trial at rungs: `grace` steps, then each `factor` times later. Judged too early, while its teacher still
pulls, a guided trial that would have won is stopped. Trials that ran to their end tell what each choice would have
saved, and lost: for each grace period and factor, over many random orders of arrival,

    spent     trial-steps run, as a share of all trials run to their end
    survives  chance that the best trial (by its last validation loss) is run to its end
    regret    last loss of the best trial that was run to its end - that of the best trial, nats per token

Trials compete with those that share their control (same depth, seed and fold), as in our sweeps. Within such a group
the order by gain at a step is the order by validation loss, so the loss decides. Two trials at least must share a
control; where a study has one arm, `--controls` lets the control compete as well.

    python -m analysis.asha_replay results/published/k_fold --controls
    python -m analysis.asha_replay results/schedule_types/run_1 --grace 60 120 240 --factor 2 4 --format markdown
"""

import heapq
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import pandas as pd
import tyro
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.figures import plural, save
from analysis.results import CONTROL_NAME, LAYERS, ROLE, STATE, TEACHER_STEPS, TRIAL, Results, load
from trainable import names
from trainable.errors import InputError

GRACE: Final = "grace"
FACTOR: Final = "factor"
TRIALS: Final = "trials"
GROUPS: Final = "groups"
SPENT: Final = "spent"
SURVIVES: Final = "survives"
REGRET: Final = "regret"
OUTCOME: Final = [SPENT, SURVIVES, REGRET]
AHEAD: Final = "ahead"

FIGURE: Final = "asha_replay.png"
GRACE_PERIODS: Final = 10  # tried at most, unless some are given
PACE_SPREAD: Final = 0.1  # a trial takes this much more or less time a step than another: it decides who comes first
STYLES: Final = (("#0072B2", "o", 8), ("#E69F00", "s", 6), ("#009E73", "^", 4), ("#CC79A7", "D", 3))  # a factor each
LABELS: Final = {
    SPENT: "trial-steps spent\n(share)",
    SURVIVES: "best survives\n(chance)",
    REGRET: "regret\n(nats per token)",
}
Format = Literal["text", "csv", "markdown"]


@dataclass(frozen=True)
class Curve:
    """A trial that ran in full: its evaluations, in order of steps."""

    name: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Group:
    """Trials that compete, for they share their control."""

    layers: int
    curves: tuple[Curve, ...]

    @property
    def last_step(self) -> int:
        """The step at which all of them end."""
        return self.curves[0].steps[-1]


@dataclass
class Bracket:
    """ASHA's rule, larger rewards being better: below the (1 - 1/factor) quantile of those before it, a trial stops.

    A trial is judged once a rung, at its first report there, by the trials that came before it: the order of arrival
    matters, and the first always goes on. This is Ray's AsyncHyperBandScheduler with stop_last_trials=False.
    """

    grace: int
    factor: int
    last_step: int
    rungs: dict[int, dict[str, float]] = field(init=False)

    def __post_init__(self) -> None:
        number = int(np.log(self.last_step / self.grace) / np.log(self.factor) + 1)
        self.rungs = {self.grace * self.factor**k: {} for k in reversed(range(number))}

    def goes_on(self, trial: str, step: int, reward: float) -> bool:
        """Record a trial's report, and say whether the trial goes on."""
        reached = next((recorded for rung, recorded in self.rungs.items() if rung <= step), None)
        if reached is None or trial in reached:
            return True
        cutoff = np.percentile(list(reached.values()), (1 - 1 / self.factor) * 100) if reached else -np.inf
        reached[trial] = reward
        return bool(reward >= cutoff)


# ---- the curves ------------------------------------------------------------------------------------------------------


def groups(results: Results, controls: bool = False) -> list[Group]:
    """The trials that ran in full, by control; a group needs two. With `controls`, controls compete as well."""
    trials, curves = results
    full = trials[(trials[STATE] == names.FINISHED) & (trials[CONTROL_NAME] != "")]
    full = full if controls else full[full[ROLE] != names.CONTROL]
    evaluated = curves[np.isfinite(curves[names.EVAL_LOSS]) & (curves[names.STEP] > 0)].sort_values(names.STEP)
    found = []
    for _, members in full.groupby(CONTROL_NAME):
        read = [_curve(name, evaluated[evaluated[TRIAL] == name]) for name in members[TRIAL]]
        last = max((curve.steps[-1] for curve in read if curve.steps), default=0)
        whole = tuple(curve for curve in read if curve.steps and curve.steps[-1] == last)
        found += [Group(int(members[LAYERS].iloc[0]), whole)] if len(whole) > 1 else []
    return found


def _curve(name: str, rows: pd.DataFrame) -> Curve:
    return Curve(name, tuple(map(int, rows[names.STEP])), tuple(map(float, rows[names.EVAL_LOSS])))


def lead(results: Results) -> pd.DataFrame:
    """Who is ahead when: the guided trials' gain at each step, over trials that ran in full.

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


# ---- the replay ------------------------------------------------------------------------------------------------------


def replay(
    found: list[Group], graces: Iterable[int], factors: Iterable[int], orders: int, slots: int, seed: int
) -> pd.DataFrame:
    """One row a depth, grace period and factor: layers, grace, factor, groups, trials, spent, survives, regret.

    Means over groups and `orders` orders of arrival, the same orders for every choice. A grace period at or after the
    end of a group leaves it out, for ASHA would judge nothing there.
    """
    rows = []
    for (number, group), grace, factor in product(enumerate(found), graces, factors):
        if grace < group.last_step:
            outcomes = [play(group, grace, factor, slots, [seed, number, order]) for order in range(orders)]
            sizes = [group.layers, grace, factor, 1, len(group.curves)]
            rows.append([*sizes, *np.mean(outcomes, axis=0)])
    table = pd.DataFrame(rows, columns=[LAYERS, GRACE, FACTOR, GROUPS, TRIALS, *OUTCOME])
    means = dict.fromkeys(OUTCOME, "mean")
    return table.groupby([LAYERS, GRACE, FACTOR]).agg({GROUPS: "sum", TRIALS: "sum", **means}).reset_index()


def play(group: Group, grace: int, factor: int, slots: int, seed: list[int]) -> tuple[float, float, float]:
    """One sweep of a group in a random order, `slots` trials at a time: spent, survives (0 or 1), regret."""
    ended_at = _ended_at(group, Bracket(grace, factor, group.last_step), slots, np.random.default_rng(seed))
    finals = {curve.name: curve.losses[-1] for curve in group.curves}
    best = min(finals.values())
    survivors = [loss for name, loss in finals.items() if ended_at[name] == group.last_step]
    spent = sum(ended_at.values()) / (group.last_step * len(group.curves))
    return spent, float(min(survivors) == best), min(survivors) - best


def _ended_at(group: Group, bracket: Bracket, slots: int, rng: np.random.Generator) -> dict[str, int]:
    """The step at which each trial ended. A free slot takes the next trial of the order; each has a pace of its own."""
    curves = [group.curves[i] for i in rng.permutation(len(group.curves))]
    pace = dict(zip([curve.name for curve in curves], rng.uniform(1, 1 + PACE_SPREAD, len(curves)), strict=True))
    waiting, ended = iter(curves), {}
    running = [_report(curve, 0, 0.0, pace) for curve in islice(waiting, slots)]
    heapq.heapify(running)
    while running:
        now, name, number, curve = heapq.heappop(running)
        step = curve.steps[number]
        if step < group.last_step and bracket.goes_on(name, step, -curve.losses[number]):
            began = now - step * pace[name]
            heapq.heappush(running, _report(curve, number + 1, began, pace))
            continue
        ended[name] = step
        if (following := next(waiting, None)) is not None:
            heapq.heappush(running, _report(following, 0, now, pace))
    return ended


def _report(curve: Curve, number: int, began: float, pace: dict[str, float]) -> tuple[float, str, int, Curve]:
    """When a trial that began at `began` reports its evaluation `number`."""
    return began + curve.steps[number] * pace[curve.name], curve.name, number, curve


def grace_periods(found: list[Group]) -> list[int]:
    """Evaluation steps that all groups share, before the end: at most GRACE_PERIODS, evenly chosen."""
    shared = sorted(set.intersection(*(set(curve.steps) for group in found for curve in group.curves)))
    before = [step for step in shared if step < min(group.last_step for group in found)]
    chosen = np.unique(np.linspace(0, len(before) - 1, min(GRACE_PERIODS, len(before))).round().astype(int))
    return [before[i] for i in chosen]


# ---- how it is shown -------------------------------------------------------------------------------------------------


def render(table: pd.DataFrame, form: Format) -> str:
    """A table as text for the terminal, CSV or Markdown."""
    if form == "csv":
        return str(table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    cells = table.apply(lambda column: column.map(_cell(str(column.name))))
    if form == "text":
        return str(cells.to_string(index=False)) + "\n"
    rows = [list(cells), ["---"] * len(cells.columns), *cells.to_numpy().tolist()]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _cell(column: str) -> Callable[[float], str]:
    form = {SPENT: "{:.0%}", SURVIVES: "{:.0%}", REGRET: "{:.4f}", names.GAIN: "{:+.4f}"}.get(column, "{:.0f}")
    return form.format


def lead_lines(results: Results) -> Iterator[str]:
    """Stretches of steps over which the guided trials are, on average, ahead of their controls or behind them."""
    table = lead(results)
    better = table[names.GAIN] > 0
    for _, stretch in table.groupby((better != better.shift()).cumsum()):
        first, last, mean = stretch[names.STEP].min(), stretch[names.STEP].max(), stretch[names.GAIN].mean()
        where = f"at step {first}" if first == last else f"at steps {first} to {last}"
        yield f"{where} {'ahead' if mean > 0 else 'behind'} by {abs(mean):.4f}"


def draw(table: pd.DataFrame, ends: dict[int, float]) -> Figure:
    """Share spent, chance and regret over the grace period: a column a depth, a line a factor.

    `ends`: the longest schedule of a depth, in steps; drawn dotted, for rungs before it judge with the teacher on.
    """
    depths = sorted(table[LAYERS].unique())
    figure = Figure(figsize=(1.5 + 3.6 * len(depths), 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(OUTCOME), len(depths), sharex=True, sharey="row", squeeze=False)
    for (row, measure), (column, depth) in product(enumerate(OUTCOME), enumerate(depths)):
        _draw_panel(panels[row][column], table[table[LAYERS] == depth], measure, ends.get(depth, np.nan))
        panels[row][0].set_ylabel(LABELS[measure])
        panels[0][column].set_title(plural(depth))
    figure.supxlabel("grace period (optimizer steps)", fontsize="medium")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


def _draw_panel(axes: Axes, table: pd.DataFrame, measure: str, end: float) -> None:
    for number, (factor, line) in enumerate(table.groupby(FACTOR)):
        colour, marker, size = STYLES[number % len(STYLES)]
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": size, "linewidth": size / 3}
        axes.plot(line[GRACE], line[measure], label=f"factor {factor}", **look)
    if np.isfinite(end):
        axes.axvline(end, color="#6E6E6E", linestyle=(0, (2, 2)), label="longest schedule ends")
    axes.grid(color="#E8E8E8")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0, top=1.05 if measure != REGRET else None)


def _longest_schedules(loaded: list[Results]) -> dict[int, float]:
    trials = pd.concat([results.trials[[LAYERS, ROLE, TEACHER_STEPS]] for results in loaded])
    guided = trials[trials[ROLE] != names.CONTROL].dropna()
    return {int(depth): float(steps) for depth, steps in guided.groupby(LAYERS)[TEACHER_STEPS].max().items()}


def main(
    results: Annotated[tuple[Path, ...], tyro.conf.Positional],
    grace: tuple[int, ...] = (),
    factor: tuple[int, ...] = (2, 3, 4),
    orders: int = 200,
    slots: int = 4,
    seed: int = 0,
    controls: bool = False,
    format: Format = "text",
    figure: Path | None = None,
) -> None:
    """Replay ASHA over curves that ran in full: what each grace period and factor would have saved, and lost.

    Args:
        results: run folders, or folders of results/published
        grace: grace periods in steps; none given: evaluation steps from the first to the last
        factor: reduction factors
        orders: random orders of arrival for each choice
        slots: trials that run at the same time
        seed: of the orders
        controls: controls compete too, as trials without a teacher
        format: of the table
        figure: where the figure goes; not given: figures/asha_replay.png in the first folder
    """
    _check(results, grace, factor, orders, slots)
    loaded = [load(folder) for folder in results]
    found = [group for one in loaded for group in groups(one, controls)]
    if not found:
        raise InputError(_nothing(results, controls))
    table = replay(found, sorted(set(grace)) or grace_periods(found), sorted(set(factor)), orders, slots, seed)
    if table.empty:
        raise InputError(f"No trial runs past step {min(grace)}: give a smaller --grace, or longer trials.")
    print(render(table, format), end="")
    path = save(draw(table, _longest_schedules(loaded)), figure or results[0] / names.FIGURES_FOLDER / FIGURE)
    for folder, one in zip(results, loaded, strict=True):
        print(f"{folder}: guided on average {'; '.join(lead_lines(one))}.", *_left_out(one), sep="\n", file=sys.stderr)
    print(f"Figure: {path}", file=sys.stderr)


def _check(results: tuple[Path, ...], grace: tuple[int, ...], factor: tuple[int, ...], orders: int, slots: int) -> None:
    wrong = {
        "RESULTS: give at least one run folder": not results,
        "--grace: give steps of at least 1": any(step < 1 for step in grace),
        "--factor: give factors of at least 2": not factor or any(one < 2 for one in factor),
        "--orders: give at least 1": orders < 1,
        "--slots: give at least 1": slots < 1,
    }
    for said, is_wrong in wrong.items():
        if is_wrong:
            raise InputError(f"{said}.")


def _left_out(results: Results) -> list[str]:
    """What to say of a run in which ASHA was on: trials it stopped cannot be replayed, and the worst are missing."""
    stopped = int((results.trials[STATE] == names.STOPPED).sum())
    said = f"  {stopped} trials were stopped and are left out: replayed over the others, ASHA saves less than it would."
    return [said] if stopped else []


def _nothing(results: tuple[Path, ...], controls: bool) -> str:
    more = "run a study without ASHA" if controls else "run a study without ASHA, or add --controls"
    folders = ", ".join(map(str, results))
    return f"No two trials that ran in full share a control in {folders}, so nothing can be replayed: {more}."


if __name__ == "__main__":
    try:
        tyro.cli(main, prog="python -m analysis.asha_replay")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
