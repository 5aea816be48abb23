"""Three pictures of a search: validation loss, its tail, and the gain of every schedule.

`python -m analysis.summary RUN` writes `RUN/figures/*.png`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.columns import LAYERS, MIN_WEIGHT, SCHEDULE, STATE, TEACHER_STEPS, TRIAL
from analysis.figures.style import (
    AXIS_COLOUR,
    BEST_COLOUR,
    COLOURS,
    CONTROL_COLOUR,
    DOTTED,
    FLOORS,
    MARKERS,
    TEXT_COLOUR,
    dress,
    handle,
    legend_below,
    save,
)
from analysis.results import Results
from analysis.tables.best import CONFIRMED, CONFIRMED_N, CONFIRMED_SD
from analysis.tables.search_lines import KIND, best_points, curve_lines, gain_points, tail
from analysis.wording import describe, plural
from trainable import names

FIGURES: Final = ("curves.png", "curves_tail.png", "gain_by_schedule.png")
MOST_TICKS: Final = 8  # values that are ticks themselves; above, ticks are round numbers


def draw_all(run: Path, results: Results) -> list[Path]:
    """Write every figure of a run into `<run>/figures` (each atomically) and return their paths."""
    lines, marks = curve_lines(results), best_points(results.trials)
    drawn = [draw_curves(lines, marks), draw_curves(tail(lines), marks), draw_gains(gain_points(results.trials), marks)]
    folder = Path(run) / names.FIGURES_FOLDER
    return [save(figure, folder / name) for figure, name in zip(drawn, FIGURES, strict=True)]


def draw_curves(lines: pd.DataFrame, marks: pd.DataFrame) -> Figure:
    """Validation loss over steps, a panel a depth: control grey, best schedule thick, the rest thin by type."""
    figure, panels = _panels(lines[LAYERS], "optimizer steps", "validation loss\n(nats per token)")
    span = 1.1 * _widest(lines)
    for depth, axes in panels.items():
        here = lines[lines[LAYERS] == depth]
        for _, line in sorted(here.groupby(TRIAL), key=lambda pair: _drawing_order(pair[1])):
            _draw_line(axes, line)
        for _, mark in marks[marks[LAYERS] == depth].iterrows():
            _mark_teacher_end(axes, mark, here)
        middle = (here[names.EVAL_LOSS].min() + here[names.EVAL_LOSS].max()) / 2
        axes.set_ylim(middle - span / 2, middle + span / 2)
    legend_below(figure, _curve_handles(lines, marks))
    return figure


def _widest(lines: pd.DataFrame) -> float:
    """The greatest range of losses in a depth: panels share the scale, so that gaps compare, but not the offset."""
    losses = lines.groupby(LAYERS)[names.EVAL_LOSS]
    return max(float((losses.max() - losses.min()).max()), 0.01) if len(lines) else 1.0


def draw_gains(points: pd.DataFrame, marks: pd.DataFrame) -> Figure:
    """Gain at the end over scheduling steps, a panel a depth: marker by type, colour by floor, hollow when stopped."""
    figure, panels = _panels(
        points[LAYERS], "scheduling steps T", "gain over the control\n(nats per token)", same_y=True
    )
    norm = Normalize(0, max(float(points[MIN_WEIGHT].max()), 0.01) if len(points) else 1)
    shift = _shifts(points)
    for depth, axes in panels.items():
        axes.axhline(0, color=CONTROL_COLOUR, linewidth=1, zorder=1)
        for _, point in points[points[LAYERS] == depth].iterrows():
            _draw_point(axes, point, norm, shift[point[SCHEDULE]])
        for _, mark in marks[(marks[LAYERS] == depth) & (marks[CONFIRMED_N] > 0)].iterrows():
            _draw_confirmation(axes, mark, shift[mark[SCHEDULE]] + 1.2 * _nudge(points))
        if points[TEACHER_STEPS].nunique() <= MOST_TICKS:
            axes.set_xticks(sorted(points[TEACHER_STEPS].unique()))
    if panels:
        _floor_bar(figure, list(panels.values()), norm, sorted(points[MIN_WEIGHT].unique()))
    legend_below(figure, _gain_handles(points, marks))
    return figure


def _floor_bar(figure: Figure, panels: list[Axes], norm: Normalize, floors: list[float]) -> None:
    bar = figure.colorbar(ScalarMappable(norm, FLOORS), ax=panels, pad=0.02, aspect=30)
    bar.set_label("floor (least teacher weight)", fontsize=9, color=TEXT_COLOUR)
    bar.set_ticks(floors if len(floors) <= MOST_TICKS else [*np.linspace(0, norm.vmax or 1, 5)])
    bar.ax.tick_params(labelsize=8, color=AXIS_COLOUR, labelcolor=TEXT_COLOUR)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _panels(layers: Iterable[int], x_label: str, y_label: str, same_y: bool = False) -> tuple[Figure, dict[int, Axes]]:
    """A figure with one axes a depth, three in a row at most; one empty axes if there is no depth."""
    depths = sorted({int(depth) for depth in layers})
    columns = min(max(len(depths), 1), 2 if len(depths) == 4 else 3)
    rows = -(-max(len(depths), 1) // columns)
    figure = Figure(figsize=(max(3.1 * columns + 0.7, 5.2), 2.7 * rows + 1.1), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=same_y).ravel()
    for axes in grid:
        dress(axes)
    for number, axes in enumerate(grid):
        axes.set_visible(number < max(len(depths), 1))
        axes.set_ylabel(y_label if number % columns == 0 else "", fontsize=9, color=TEXT_COLOUR)
        last_of_column = number + columns >= max(len(depths), 1)
        axes.set_xlabel(x_label if last_of_column else "", fontsize=9, color=TEXT_COLOUR)
        axes.tick_params(labelbottom=last_of_column)
    if not depths:
        grid[0].set(xticks=[], yticks=[])
        grid[0].text(0.5, 0.5, "nothing to show yet", transform=grid[0].transAxes, ha="center", color=TEXT_COLOUR)
    for depth, axes in zip(depths, grid, strict=False):
        axes.set_title(plural(depth), fontsize=10, loc="left", color=TEXT_COLOUR)
    return figure, dict(zip(depths, grid, strict=False))


def _drawing_order(line: pd.DataFrame) -> int:
    """Drawn last, seen best."""
    return ["guided", "control", "best"].index(line[KIND].iloc[0])


def _draw_line(axes: Axes, line: pd.DataFrame) -> None:
    kind, schedule = line[KIND].iloc[0], line[SCHEDULE].iloc[0]
    colour = {"control": CONTROL_COLOUR, "best": BEST_COLOUR}.get(kind) or COLOURS[schedule]
    width = {"control": 2.0, "best": 2.2, "guided": 0.9}[kind]
    axes.plot(line[names.STEP], line[names.EVAL_LOSS], color=colour, linewidth=width, alpha=1 if width > 1 else 0.75)
    if line[STATE].iloc[0] == names.STOPPED:
        last = line.iloc[-1]
        axes.plot(last[names.STEP], last[names.EVAL_LOSS], "o", color=colour, markersize=4, markerfacecolor="white")


def _mark_teacher_end(axes: Axes, mark: Any, here: pd.DataFrame) -> None:
    if mark[TEACHER_STEPS] >= here[names.STEP].min():
        axes.axvline(mark[TEACHER_STEPS], color=BEST_COLOUR, linewidth=1, linestyle=DOTTED)
    axes.set_title(describe(mark), fontsize=8, loc="right", color=BEST_COLOUR)


def _curve_handles(lines: pd.DataFrame, marks: pd.DataFrame) -> list[Line2D]:
    kinds, guided = set(lines[KIND]), set(lines.loc[lines[KIND] == "guided", SCHEDULE])
    handles = []
    if "control" in kinds:
        handles.append(handle("control (no teacher)", color=CONTROL_COLOUR, linewidth=2))
    if "best" in kinds:
        handles.append(handle("best schedule of this depth", color=BEST_COLOUR, linewidth=2.2))
    if (marks[TEACHER_STEPS] >= lines[names.STEP].min()).any():
        handles.append(handle("its teacher is at the floor", color=BEST_COLOUR, linewidth=1, linestyle=DOTTED))
    handles += [handle(name, color=COLOURS[name], linewidth=1) for name in COLOURS if name in guided]
    if (lines[STATE] == names.STOPPED).any():
        handles.append(_marker("o", "stopped by ASHA", color=CONTROL_COLOUR, markerfacecolor="white", markersize=4))
    return handles


def _nudge(points: pd.DataFrame) -> float:
    """A sideways shift in steps that keeps neighbouring markers apart."""
    return 0.022 * float(points[TEACHER_STEPS].max()) if len(points) else 0.0


def _shifts(points: pd.DataFrame) -> dict[str, float]:
    """Shift of each schedule type, so that markers of different types do not hide one another."""
    present = [name for name in MARKERS if name in set(points[SCHEDULE])]
    return {name: (i - (len(present) - 1) / 2) * _nudge(points) for i, name in enumerate(present)}


def _draw_point(axes: Axes, point: Any, norm: Normalize, shift: float) -> None:
    colour = FLOORS(norm(point[MIN_WEIGHT]))
    face = "white" if point[STATE] == names.STOPPED else colour
    look = {"markerfacecolor": face, "markeredgecolor": colour, "markersize": 6, "markeredgewidth": 1.4}
    axes.plot(point[TEACHER_STEPS] + shift, point[names.GAIN], MARKERS[point[SCHEDULE]], zorder=3, **look)


def _draw_confirmation(axes: Axes, mark: Any, shift: float) -> None:
    sd = mark[CONFIRMED_SD] if mark[CONFIRMED_N] > 1 else 0
    at = mark[TEACHER_STEPS] + shift
    axes.errorbar(at, mark[CONFIRMED], yerr=sd, fmt="_", color=BEST_COLOUR, capsize=2.5, markersize=9, zorder=4)


def _gain_handles(points: pd.DataFrame, marks: pd.DataFrame) -> list[Line2D]:
    handles = [_marker(MARKERS[name], name, color=CONTROL_COLOUR) for name in MARKERS if name in set(points[SCHEDULE])]
    if (points[STATE] == names.STOPPED).any():
        label = "hollow: stopped by ASHA (gain then)"
        handles.append(_marker("o", label, color=CONTROL_COLOUR, markerfacecolor="white"))
    if (marks[CONFIRMED_N] > 0).any():
        handles.append(
            _marker("_", "best, other seeds: mean ± sd", color=BEST_COLOUR, markersize=9, markeredgewidth=1.5)
        )
    return handles


def _marker(marker: str, label: str, **look: Any) -> Line2D:
    return handle(label, **{"marker": marker, "linestyle": "", "markersize": 6} | look)
