"""The curves of a study's arms, as in the published figures: validation loss, its tail, training loss.

    python -m analysis.curves results/kfold/my_run [--out FOLDER]

A line an arm, the mean over its units (seeds, folds) with a band from the lowest to the highest; the control in grey; a
dotted line where an arm's teacher has ended. A panel a depth and budget. Data apart from drawing: `arm_lines` makes the
table, `draw_*` only draw it.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import pandas as pd
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import CONTROL_COLOUR, DOTTED, TAIL, TEXT_COLOUR, dress, handle, legend_below, plural, save
from analysis.results import ARM, LAYERS, LOOP_STEPS, MIN_WEIGHT, ROLE, TEACHER_STEPS, TRIAL, Results, load
from trainable import names
from trainable.errors import InputError

FIGURES: Final = ("curves.png", "curves_tail.png", "train_loss.png")
PANEL: Final = [LAYERS, LOOP_STEPS]
MEAN, LOW, HIGH, UNITS, ENDS = "mean", "low", "high", "units", "teacher_ends"
# Okabe and Ito's, which colour-blind readers tell apart; with line styles once they are used up.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
STYLES: Final = ("-", "--")


def draw_all(run: Path, results: Results) -> list[Path]:
    """Write the figures of a run into `<run>/figures` (each atomically) and return their paths."""
    return draw_into(Path(run) / names.FIGURES_FOLDER, results)


def draw_into(folder: Path, results: Results) -> list[Path]:
    """The same into any folder."""
    folder.mkdir(parents=True, exist_ok=True)
    loss, train_loss = arm_lines(results, names.EVAL_LOSS), arm_lines(results, names.TRAIN_LOSS)
    guided = "training loss of each arm's own objective\n(nats per token; arms are not comparable)"
    drawn = [
        draw(loss, "validation loss\n(nats per token)"),
        draw(tail(loss), "validation loss\n(nats per token)"),
        draw(train_loss, guided),
    ]
    return [save(figure, folder / name) for figure, name in zip(drawn, FIGURES, strict=True)]


def arm_lines(results: Results, column: str) -> pd.DataFrame:
    """One row an arm, panel and step: mean, low and high of `column` over units, and how many units there are.

    Columns: model.layers, loop.steps, arm, role, step, mean, low, high, units, teacher_ends (the step from which the
    teacher is silent; NaN for a control and for a teacher that never ends).
    """
    curves = results.curves
    if LOOP_STEPS not in curves:
        curves = curves.merge(results.trials[[TRIAL, LOOP_STEPS]], on=TRIAL)
    curves = curves[np.isfinite(curves[column].astype(float))]
    ends = curves[TEACHER_STEPS].where((curves[ROLE] != names.CONTROL) & (curves[MIN_WEIGHT] == 0))
    groups = curves.assign(**{ENDS: ends}).groupby([*PANEL, ARM, ROLE, names.STEP], sort=False)
    table = groups.agg(**{MEAN: (column, "mean"), LOW: (column, "min"), HIGH: (column, "max")})
    return table.assign(**{UNITS: groups.size(), ENDS: groups[ENDS].max()}).reset_index()


def tail(lines: pd.DataFrame) -> pd.DataFrame:
    """The last 40 % of each panel's steps."""
    late: pd.DataFrame = lines[lines[names.STEP] >= (1 - TAIL) * lines.groupby(PANEL)[names.STEP].transform("max")]
    return late.reset_index(drop=True)


# ---- drawing ---------------------------------------------------------------------------------------------------------


def draw(lines: pd.DataFrame, y_label: str) -> Figure:
    """A panel a depth and budget."""
    keys = list(lines.groupby(PANEL).groups)
    columns = min(max(len(keys), 1), 3)
    rows = -(-max(len(keys), 1) // columns)
    figure = Figure(figsize=(max(3.6 * columns + 0.7, 6.4), 2.9 * rows + 1.2), layout="constrained")
    looks = looks_of(lines)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for number, axes in enumerate(grid):
        dress(axes)
        axes.set_visible(number < max(len(keys), 1))
        axes.set_xlabel("optimizer steps", fontsize=9, color=TEXT_COLOUR)
        axes.set_ylabel(y_label if number % columns == 0 else "", fontsize=9, color=TEXT_COLOUR)
    for key, axes in zip(keys, grid, strict=False):
        here = lines[(lines[PANEL] == list(key)).all(axis=1)]
        axes.set_title(_title(key, lines), fontsize=10, loc="left", color=TEXT_COLOUR)
        for arm, line in sorted(here.groupby(ARM, sort=False), key=lambda pair: pair[1][ROLE].iloc[0] == names.CONTROL):
            _draw_arm(axes, line.sort_values(names.STEP), looks[str(arm)])
    legend_below(figure, _handles(lines, looks))
    return figure


def looks_of(lines: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour and line style of each arm: the control grey and thick."""
    guided = list(dict.fromkeys(lines.loc[lines[ROLE] != names.CONTROL, ARM]))
    looks: dict[str, dict[str, Any]] = {
        arm: {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i // len(COLOURS) % 2], "linewidth": 1.5}
        for i, arm in enumerate(guided)
    }
    controls = dict.fromkeys(lines.loc[lines[ROLE] == names.CONTROL, ARM])
    return {arm: {"color": CONTROL_COLOUR, "linewidth": 2.2} for arm in controls} | looks


def _draw_arm(axes: Axes, line: pd.DataFrame, look: dict[str, Any]) -> None:
    axes.plot(line[names.STEP], line[MEAN], **look)
    if line[UNITS].max() > 1:
        axes.fill_between(line[names.STEP], line[LOW], line[HIGH], color=look["color"], alpha=0.13, linewidth=0)
    ends = line[ENDS].iloc[0]
    if line[names.STEP].min() <= ends < line[names.STEP].max():
        axes.axvline(ends, color=look["color"], linewidth=1, linestyle=DOTTED)


def _title(key: Any, lines: pd.DataFrame) -> str:
    layers, steps = key
    budget = f", {steps:,.0f} steps" if lines[LOOP_STEPS].nunique() > 1 else ""
    return plural(int(layers)) + budget


def _handles(lines: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> list[Line2D]:
    handles = [handle("control (no teacher)" if arm == "none" else arm, **look) for arm, look in looks.items()]
    if (lines[ENDS] < lines[names.STEP].max()).any():
        handles.append(handle("its teacher has ended", color=CONTROL_COLOUR, linewidth=1, linestyle=DOTTED))
    if (lines[UNITS] > 1).any():
        handles.append(handle("band: lowest to highest unit", color=CONTROL_COLOUR, linewidth=6, alpha=0.2))
    return handles


def main(run: Annotated[Path, tyro.conf.Positional], out: Path | None = None) -> None:
    """Draw the curves of a run folder, or of a folder with kept tables.

    Args:
        run: such as results/kfold/my_run or results/published/k_fold
        out: folder for the pictures (default: figures/ of the run)
    """
    for path in draw_into(out or run / names.FIGURES_FOLDER, load(run)):
        print(path)


if __name__ == "__main__":
    try:
        tyro.cli(main, description="Draw the curves of a study's arms.")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
