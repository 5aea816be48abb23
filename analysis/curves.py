"""The curves of a study's arms, as in the published figures: validation loss, its tail, training loss.

    python -m analysis.curves results/kfold/my_run results/published/k_fold [--out FOLDER]

A line an arm: the mean over its units (seeds, folds), with a band from the lowest to the highest; the control in grey;
a ring where the arm's teacher ends. A panel a depth, budget and validation set. Means are honest only over the same
units: an arm shows its finished trials, at steps that all of them reported. Of a search, the best schedule of each
depth stands beside its control on the seeds that confirmed it, and its pictures are called `best_*.png`, for
`analysis.figures` draws all trials of a search. Where learning rates vary, each arm is drawn at its own best.
Data apart from drawing: `arm_lines` makes the table, `draw` only draws it. Each folder gets pictures of its own.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import pandas as pd
import tyro
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.arms import pair
from analysis.best import CONFIRMED_N, RANK, best
from analysis.figures import (
    CONTROL_COLOUR,
    TAIL,
    TEXT_COLOUR,
    describe,
    dress,
    handle,
    legend_below,
    plural,
    save,
)
from analysis.results import (
    ARM,
    CONTROL_NAME,
    EVAL_ROWS,
    LAYERS,
    LOOP_STEPS,
    MIN_WEIGHT,
    ROLE,
    SCHEDULE,
    STATE,
    TEACHER_STEPS,
    TRIAL,
    Results,
    load,
    study_arms,
)
from trainable import names
from trainable.errors import InputError

FIGURES: Final = ("curves.png", "curves_tail.png", "train_loss.png")
SEARCH_PREFIX: Final = "best_"
TOP: Final = 3  # schedules shown of a depth whose winner no other seed has confirmed
BUDGET: Final = "budget"  # loop.steps; runs of nearly the same length (folds differ by a block) share one
SAME_BUDGET: Final = 0.02
PANEL: Final = [LAYERS, BUDGET, EVAL_ROWS]
NOTE: Final = "note"  # what the legend adds about an arm's units
PLACE: Final = "place"  # of an arm among the study's; arms that it does not list come last
MEAN, LOW, HIGH, UNITS, ENDS = "mean", "low", "high", "units", "teacher_ends"
LEARNING_RATE: Final = "optimizer.lr"
NEEDED: Final = (TRIAL, ROLE, CONTROL_NAME, STATE, LAYERS, TEACHER_STEPS, MIN_WEIGHT, LOOP_STEPS, names.STEP)
# Okabe and Ito's, which colour-blind readers tell apart; with line styles once they are used up.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
STYLES: Final = ("-", "--")
RING: Final[dict[str, Any]] = {
    "marker": "o", "linestyle": "", "markersize": 6, "markerfacecolor": "white", "markeredgewidth": 1.5,
}  # fmt: skip


def draw_all(run: Path, results: Results) -> list[Path]:
    """Write the figures of a run into `<run>/figures` (each atomically) and return their paths."""
    return draw_into(Path(run) / names.FIGURES_FOLDER, results, study_arms(run))


def draw_into(folder: Path, results: Results, arms: Sequence[str]) -> list[Path]:
    """The same into any folder; `arms` in the order of the study."""
    loss, training = (arm_lines(results, column, arms) for column in (names.EVAL_LOSS, names.TRAIN_LOSS))
    objective = "training loss, each arm's own\nobjective: do not compare arms"
    drawn = [
        draw(loss, "validation loss\n(nats per token)"),
        draw(tail(loss), "validation loss\n(nats per token)"),
        draw(training, f"{objective}\n(nats per token)"),
    ]
    prefix = SEARCH_PREFIX if is_search(results.trials) else ""
    return [save(figure, folder / (prefix + name)) for figure, name in zip(drawn, FIGURES, strict=True)]


# ---- which trials, in which arms -------------------------------------------------------------------------------------


def is_search(trials: pd.DataFrame) -> bool:
    """Whether a searcher proposed any trial."""
    return bool((trials[ROLE] == names.SEARCH).any())


def arm_lines(results: Results, column: str, arms: Sequence[str] = ()) -> pd.DataFrame:
    """One row an arm, panel and step: mean, low and high of `column` over units, and how many units there are.

    Columns: model.layers, budget (steps), corpus.eval_rows (NaN: all), arm, place (of the arm in `arms`, the study's
    list), role, note, step, mean, low, high, units, teacher_ends (the step from which the teacher is silent; infinity
    if it never ends; NaN for a control).
    """
    shown = shown_trials(results, arms)
    keys = [*PANEL, ARM, PLACE, ROLE, NOTE]
    own = results.curves[[TRIAL, names.STEP, column]].dropna()
    points = own[np.isfinite(own[column].astype(float))].merge(shown[[TRIAL, *keys, ENDS]], on=TRIAL)
    groups = points.groupby([*keys, names.STEP], dropna=False)
    table = groups.agg(**{MEAN: (column, "mean"), LOW: (column, "min"), HIGH: (column, "max"), ENDS: (ENDS, "max")})
    table = table.assign(**{UNITS: groups.size()}).reset_index()
    everyone = points.groupby(keys, dropna=False)[TRIAL].nunique().rename("everyone").reset_index()
    whole = table.merge(everyone, on=keys)
    return whole[whole[UNITS] == whole["everyone"]].drop(columns="everyone").reset_index(drop=True)


def shown_trials(results: Results, arms: Sequence[str] = ()) -> pd.DataFrame:
    """The trials that are drawn, with their arm and its place in `arms`, note, panel and the end of their teacher."""
    trials = results.trials
    chosen = _of_search(trials) if is_search(trials) else _of_comparison(results, arms)
    never = np.where(chosen[MIN_WEIGHT].astype(float) > 0, np.inf, chosen[TEACHER_STEPS].astype(float))
    ends = np.where(chosen[ROLE] == names.CONTROL, np.nan, never)
    rows = chosen[EVAL_ROWS].astype("float64") if EVAL_ROWS in chosen else np.nan
    return chosen.assign(**{ENDS: ends, BUDGET: _budgets(chosen), EVAL_ROWS: rows}).reset_index(drop=True)


def _of_comparison(results: Results, arms: Sequence[str]) -> pd.DataFrame:
    """Of each arm its finished trials; if none has finished, what there is of it."""
    trials = results.trials
    tuned = LEARNING_RATE in trials and trials[LEARNING_RATE].nunique() > 1
    if tuned:
        trials = trials[trials[TRIAL].isin(pair(results, LEARNING_RATE)[TRIAL])]
    named = [_arm(row) for _, row in trials.iterrows()]
    places = [arms.index(arm) if arm in arms else len(arms) for arm in named]
    if tuned:
        named = [f"{arm}, lr {rate:g}" for arm, rate in zip(named, trials[LEARNING_RATE], strict=True)]
    trials = trials.assign(**{ARM: named, PLACE: places, BUDGET: _budgets(trials)})
    done = (trials[STATE] == names.FINISHED).rename("done")
    same = [trials[LAYERS], trials[BUDGET], trials[ARM]]
    any_done = done.groupby(same, dropna=False).transform("any") if len(trials) else done
    notes = np.where(any_done, "", "not finished")
    return trials.assign(**{NOTE: notes})[done | ~any_done]


def _arm(row: Any) -> str:
    """What the study calls a trial's arm; of tables older than arms, its schedule."""
    if row.get(ARM):
        return str(row[ARM])
    return "none" if row[ROLE] == names.CONTROL else describe(row)


def _of_search(trials: pd.DataFrame) -> pd.DataFrame:
    """Of each depth its best schedule and control on the seeds that confirmed it, else its best ones on the search's.

    Never the seed that chose the winner together with others: the two sides must be means over the same units.
    """
    ranked = best(trials, top=TOP)
    parts = [_of_depth(trials, ranked[ranked[LAYERS] == depth]) for depth in sorted(set(ranked[LAYERS]))]
    return pd.concat(parts or [trials.iloc[:0].assign(**{ARM: "", NOTE: ""})]).assign(**{PLACE: 0})


def _of_depth(trials: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    winner = ranked[ranked[RANK] == 1].iloc[0]
    done = trials[(trials[LAYERS] == winner[LAYERS]) & (trials[STATE] == names.FINISHED)]
    if winner[CONFIRMED_N] > 0:
        same = (done[[SCHEDULE, TEACHER_STEPS, MIN_WEIGHT]] == winner[[SCHEDULE, TEACHER_STEPS, MIN_WEIGHT]]).all(
            axis=1
        )
        guided, note = done[same & (done[ROLE] == names.CONFIRM)], "seeds that did not choose it"
    else:
        guided, note = done[done[TRIAL].isin(ranked[TRIAL])], "only the seed that chose it"
    guided = guided.assign(**{ARM: [describe(row) for _, row in guided.iterrows()], NOTE: note})
    return pd.concat([done[done[TRIAL].isin(guided[CONTROL_NAME])].assign(**{ARM: "none", NOTE: ""}), guided])


def _budgets(trials: pd.DataFrame) -> pd.Series:
    """loop.steps, lengths within 2 % of each other made one; a trial that does not say gets its depth's longest."""
    steps = trials[LOOP_STEPS].astype("float64")
    steps = steps.fillna(steps.groupby(trials[LAYERS]).transform("max")).fillna(trials[names.STEP])
    known: dict[float, float] = {}
    for value in sorted(set(steps), reverse=True):
        longer = min(known.values(), default=np.inf)
        known[value] = longer if value >= (1 - SAME_BUDGET) * longer else value
    return steps.map(known)


def tail(lines: pd.DataFrame) -> pd.DataFrame:
    """The last 40 % of each panel's steps."""
    last = lines.groupby(PANEL, dropna=False)[names.STEP].transform("max")
    return lines[lines[names.STEP] >= (1 - TAIL) * last].reset_index(drop=True)


def legend_text(lines: pd.DataFrame) -> dict[str, str]:
    """What the legend says of each arm: its name, its units, where its teacher ends.

    Controls first, then as the study lists its arms, then (in tables that know no list) by name.
    """
    arms = lines.drop_duplicates([*PANEL, ARM])
    order = sorted(
        set(zip(arms[ROLE] != names.CONTROL, arms[PLACE], arms[ARM], strict=True)),
        key=lambda found: (*found[:2], _natural(found[2])),
    )
    return {arm: _legend_line(arm, arms[arms[ARM] == arm]) for _, _, arm in order}


def _natural(arm: str) -> list[tuple[int, str]]:
    """Sorts "linear 60" before "linear 240"."""
    parts = [part for part in re.split(r"(\d+)", arm) if part]
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _legend_line(arm: str, panels: pd.DataFrame) -> str:
    """`panels`: one row a panel that has the arm. Values that differ between panels are given in their order."""
    facts = [_in_order(f"{end:.0f}" if np.isfinite(end) else "never" for end in panels[ENDS] if not np.isnan(end))]
    facts = [("teacher never ends" if end == "never" else f"teacher ends at {end}") for end in facts if end]
    units = _in_order(f"{n}" for n in panels[UNITS])
    facts += [f"n = {units}"] if (panels[UNITS] > 1).any() else []
    facts += [note for note in dict.fromkeys(panels[NOTE]) if note]
    name = arm.replace("none", "control", 1) if (panels[ROLE] == names.CONTROL).all() else arm
    return f"{name} ({'; '.join(facts)})" if facts else name


def _in_order(values: Iterable[str]) -> str:
    """One value if all are the same, else all: "12 / 24 / 48"."""
    listed = list(values)
    return " / ".join(listed[:1] if len(set(listed)) == 1 else listed)


# ---- drawing ---------------------------------------------------------------------------------------------------------


def draw(lines: pd.DataFrame, y_label: str) -> Figure:
    """A panel a depth, budget and validation set; all have the same scale of losses, so that gaps compare."""
    keys = [key for key, _ in lines.groupby(PANEL, dropna=False)]
    figure, grid = _panels(len(keys), y_label)
    looks, span = looks_of(lines), 1.08 * _widest(lines)
    for key, axes in zip(keys, grid, strict=False):
        here = _panel(lines, key)
        axes.set_title(_title(key, lines), fontsize=10, loc="left", color=TEXT_COLOUR)
        for arm in looks:  # the control first: thicker, it is seen under a line that hides it
            _draw_arm(axes, here[here[ARM] == arm], looks[arm])
        middle = (here[LOW].min() + here[HIGH].max()) / 2
        axes.set_ylim(middle - span / 2, middle + span / 2)
    legend_below(figure, _handles(lines, looks))
    _make_room(figure)
    return figure


def looks_of(lines: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour and line style of each arm, in the order of the legend: controls grey and thick."""
    arms, controls = list(legend_text(lines)), set(lines.loc[lines[ROLE] == names.CONTROL, ARM])
    grey = {"color": CONTROL_COLOUR, "linewidth": 2.2}
    looks: dict[str, dict[str, Any]] = {
        arm: grey | {"linestyle": STYLES[i % 2]} for i, arm in enumerate(a for a in arms if a in controls)
    }
    for i, arm in enumerate(a for a in arms if a not in controls):
        style = STYLES[i // len(COLOURS) % len(STYLES)]
        looks[arm] = {"color": COLOURS[i % len(COLOURS)], "linestyle": style, "linewidth": 1.5}
    return looks


def _panels(number: int, y_label: str) -> tuple[Figure, list[Axes]]:
    """A figure of `number` panels, three in a row at most; one that says so if there is nothing to show."""
    columns = min(max(number, 1), 2 if number == 4 else 3)
    rows = -(-max(number, 1) // columns)
    figure = Figure(figsize=(max(3.4 * columns + 0.7, 6.4), 2.8 * rows + 0.4), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for index, axes in enumerate(grid):
        dress(axes)
        axes.set_visible(index < max(number, 1))
        axes.set_xlabel("optimizer steps" if index + columns >= number else "", fontsize=9, color=TEXT_COLOUR)
        axes.set_ylabel(y_label if index % columns == 0 else "", fontsize=9, color=TEXT_COLOUR)
    if not number:
        grid[0].set(xticks=[], yticks=[])
        grid[0].text(0.5, 0.5, "nothing to show yet", transform=grid[0].transAxes, ha="center", color=TEXT_COLOUR)
    return figure, grid


def _panel(lines: pd.DataFrame, key: Any) -> pd.DataFrame:
    groups = lines.groupby(PANEL, dropna=False)
    return next(here for other, here in groups if repr(other) == repr(key))


def _widest(lines: pd.DataFrame) -> float:
    groups = lines.groupby(PANEL, dropna=False)
    return max(float((groups[HIGH].max() - groups[LOW].min()).max()), 0.01) if len(lines) else 1.0


def _draw_arm(axes: Axes, line: pd.DataFrame, look: dict[str, Any]) -> None:
    if line.empty:
        return
    steps, mean = line[names.STEP].to_numpy(float), line[MEAN].to_numpy(float)
    axes.plot(steps, mean, **look)
    if line[UNITS].max() > 1:
        axes.fill_between(steps, line[LOW], line[HIGH], color=look["color"], alpha=0.14, linewidth=0)
    ends = line[ENDS].iloc[0]
    if steps[0] <= ends <= steps[-1]:
        axes.plot(ends, np.interp(ends, steps, mean), color=look["color"], zorder=4, **RING)


def _title(key: tuple[Any, ...], lines: pd.DataFrame) -> str:
    """The depth; the budget and the validation set where they vary."""
    layers, steps, rows = key
    parts = [plural(int(layers))]
    parts += [f"{steps:,.0f} steps"] if lines[BUDGET].nunique() > 1 else []
    several = lines[EVAL_ROWS].nunique(dropna=False) > 1
    parts += [f"{rows:,.0f} validation rows" if np.isfinite(rows) else "all validation rows"] if several else []
    return ", ".join(parts)


def _handles(lines: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> list[Line2D]:
    text = legend_text(lines)
    handles = [handle(text[arm], **look) for arm, look in looks.items()]
    first, last = (lines.groupby([*PANEL, ARM], dropna=False)[names.STEP].transform(end) for end in ("min", "max"))
    if lines[ENDS].between(first, last).any():
        handles.append(handle("its teacher ends here", color=CONTROL_COLOUR, **RING))
    if (lines[UNITS] > 1).any():
        handles.append(handle("band: lowest to highest unit", color=CONTROL_COLOUR, linewidth=6, alpha=0.2))
    return handles


def _make_room(figure: Figure) -> None:
    """As much more height as the legend takes, so that many arms do not flatten the panels."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    for legend in figure.legends:
        figure.set_figheight(figure.get_figheight() + legend.get_window_extent(renderer).height / figure.dpi)


# ---- command line ----------------------------------------------------------------------------------------------------


def main(results: Annotated[tuple[Path, ...], tyro.conf.Positional], out: Path | None = None) -> None:
    """Draw validation loss, its tail and training loss of each arm of a study.

    Args:
        results: run folders, or folders with kept tables, such as results/published/k_fold
        out: where the pictures go, in a folder for each of several RESULTS (default: figures/ of each)
    """
    if not results:
        raise InputError("RESULTS: give at least one run folder.")
    for folder, target in zip(results, _targets(results, out), strict=True):
        for path in draw_into(target, _read(folder), study_arms(folder)):
            print(path)


def _targets(results: tuple[Path, ...], out: Path | None) -> list[Path]:
    """Where the pictures of each folder go."""
    if out is None:
        return [folder / names.FIGURES_FOLDER for folder in results]
    if len(results) == 1:
        return [out]
    whole = [folder.resolve() for folder in results]
    short = [folder.name for folder in whole]
    return [out / (one.name if short.count(one.name) == 1 else f"{one.parent.name}_{one.name}") for one in whole]


def _read(folder: Path) -> Results:
    """The tables of a folder. Raises InputError if one of them lacks a column."""
    results = load(folder)
    lacking = [name for name in NEEDED if name not in results.trials]
    lacking += [name for name in (TRIAL, names.STEP, names.EVAL_LOSS, names.TRAIN_LOSS) if name not in results.curves]
    if lacking:
        raise InputError(f"the tables in {folder} lack {', '.join(lacking)}: see results/README.md for their columns.")
    return results


if __name__ == "__main__":
    try:
        tyro.cli(main, prog="python -m analysis.curves")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
