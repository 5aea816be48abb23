"""Three pictures of a study's arms: validation loss, its tail, training loss.

A line an arm, with a band from its lowest to its highest unit; a ring where the arm's teacher ends. A panel a depth,
budget and validation set. Of a search they are called `best_*.png`, for `search_figures` draws all of its trials.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.columns import ARM, EVAL_ROWS
from analysis.figures.arm_looks import legend_text, looks_of
from analysis.figures.style import CONTROL_COLOUR, TEXT_COLOUR, dress, handle, legend_below, save
from analysis.results import Results, study_arms
from analysis.tables.arm_lines import BUDGET, ENDS, HIGH, LOW, MEAN, PANEL, UNITS, arm_lines, is_search, tail
from analysis.wording import plural
from trainable import names

FIGURES: Final = ("curves.png", "curves_tail.png", "train_loss.png")
SEARCH_PREFIX: Final = "best_"
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
