"""Picture of the gain over scheduling steps and minimum weight: rows of panels by depth, columns by schedule."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from analysis.columns import LAYERS, MIN_WEIGHT, SCHEDULE, TEACHER_STEPS
from analysis.figures.style import AXIS_COLOUR, GRID_COLOUR, PLAIN_TEXT, TEXT_COLOUR, nothing_to_show
from analysis.tables.schedule_effects import TRIALS, Space, axis_values, gain_text
from analysis.wording import plural
from trainable import names

FIGURE: Final = "gain_heatmap.png"
# Vermilion and blue of Okabe and Ito: worse and better than the control, white where there is no difference.
GAINS: Final[Colormap] = LinearSegmentedColormap.from_list("gains", ["#D55E00", "#FFFFFF", "#0072B2"])
SMALL: Final = 0.1  # nats per token; cells have three decimals where the colour scale ends below
MARGIN: Final = 1.25  # widens the colour scale, so that text on the strongest colour can be read


@rc_context(PLAIN_TEXT)
def draw(cells: pd.DataFrame, space: Space) -> Figure:
    """Draw the gain over T and minimum weight, on one colour scale around 0 for all panels."""
    if cells.empty:
        figure = Figure(figsize=(5, 2.5))
        nothing_to_show(figure.subplots())
        return figure
    depths, types = sorted(set(cells[LAYERS])), list(dict.fromkeys([*space.get(SCHEDULE, ()), *cells[SCHEDULE]]))
    steps, min_weights = axis_values(cells, space, TEACHER_STEPS), axis_values(cells, space, MIN_WEIGHT)
    size = (max(0.52 * len(steps), 1.6) * len(types) + 1.9, max(0.3 * len(min_weights) + 0.5, 1.3) * len(depths) + 1.0)
    figure = Figure(figsize=(max(size[0], 5.0), size[1]), layout="constrained")
    grid = figure.subplots(len(depths), len(types), squeeze=False, sharex=True, sharey=True)
    widest = MARGIN * max(float(cells[names.GAIN].abs().max()), 1e-3)
    norm = Normalize(-widest, widest)
    for row, depth in enumerate(depths):
        here = cells[cells[LAYERS] == depth]
        finished = here[here[TRIALS] > 0]
        winner = finished[names.GAIN].idxmax() if len(finished) else None  # row label of the best cell
        for column, kind in enumerate(types):
            axes: Axes = grid[row, column]
            _draw_panel(axes, here[here[SCHEDULE] == kind], steps, min_weights, norm, winner)
            axes.set_title(f"{plural(depth)}, {kind}", fontsize=9, loc="left", color=TEXT_COLOUR)
            axes.set_xlabel("T (steps)" if row == len(depths) - 1 else "", fontsize=9, color=TEXT_COLOUR)
            axes.set_ylabel("min weight" if column == 0 else "", fontsize=9, color=TEXT_COLOUR)
    _colour_bar(figure, grid, norm)
    _explain(figure, cells)
    return figure


def _draw_panel(
    axes: Axes, cells: pd.DataFrame, steps: Sequence[float], min_weights: Sequence[float], norm: Normalize, winner: Any
) -> None:
    axes.set(xlim=(-0.5, len(steps) - 0.5), ylim=(-0.5, len(min_weights) - 0.5))
    axes.set_xticks(range(len(steps)), [f"{value:g}" for value in steps])
    axes.set_yticks(range(len(min_weights)), [f"{value:g}" for value in min_weights])
    axes.tick_params(labelsize=8, length=0, labelcolor=TEXT_COLOUR)
    axes.spines[:].set_color(AXIS_COLOUR)
    axes.set_xticks(np.arange(0.5, len(steps) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(min_weights) - 1), minor=True)
    axes.grid(which="minor", color=GRID_COLOUR, linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    form = "+.2f" if (norm.vmax or 0) >= SMALL else "+.3f"
    for label, cell in cells.sort_index().iterrows():
        at = (_cell_index(steps, cell[TEACHER_STEPS]), _cell_index(min_weights, cell[MIN_WEIGHT]))
        _draw_cell(axes, cell, at, GAINS(norm(cell[names.GAIN])), label == winner, form)


def _cell_index(values: Sequence[float], value: float) -> int:
    return int(np.argmin(np.abs(np.array(values) - value)))


def _draw_cell(axes: Axes, cell: Any, at: tuple[int, int], colour: Any, is_best: bool, form: str) -> None:
    edge, width, order = (TEXT_COLOUR, 1.8, 3) if is_best else ("white", 0.8, 2)
    hatch = None if cell[TRIALS] else "////"
    corner = (at[0] - 0.5, at[1] - 0.5)
    axes.add_patch(
        Rectangle(corner, 1, 1, facecolor=colour, edgecolor=edge, linewidth=width, zorder=order, clip_on=False)
    )
    if hatch:
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, hatch=hatch, edgecolor="#BBBBBB", linewidth=0, zorder=2))
    text = gain_text(cell, form).replace("+0.", "+.").replace("-0.", "-.")
    axes.text(*at, text, ha="center", va="center", fontsize=7, color="black", zorder=4)


def _colour_bar(figure: Figure, grid: Any, norm: Normalize) -> None:
    bar = figure.colorbar(ScalarMappable(norm, GAINS), ax=list(grid.ravel()), pad=0.02, aspect=25)
    bar.set_label("gain (nats per token)", fontsize=9, color=TEXT_COLOUR)
    bar.ax.tick_params(labelsize=8, color=AXIS_COLOUR, labelcolor=TEXT_COLOUR)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _explain(figure: Figure, cells: pd.DataFrame) -> None:
    handles: list[Patch | Line2D] = []
    if (cells[TRIALS] > 0).any():
        handles.append(Patch(facecolor="white", edgecolor=TEXT_COLOUR, linewidth=1.8, label="best of its depth"))
    if (cells[TRIALS] == 0).any():
        stopped = "(gain): stopped by ASHA, gain at that step"
        handles.append(Patch(facecolor="white", edgecolor="#BBBBBB", hatch="////", label=stopped))
    look: dict[str, Any] = {"frameon": False, "fontsize": 8, "labelcolor": TEXT_COLOUR}
    figure.legend(handles=handles, loc="outside lower center", ncols=2, **look)
