"""Any plot of `analysis.plots` as a picture: panels side by side, one legend below.

`save_plot` writes the pictures of a plot; `draw` makes one Figure. The legend explains the elements that are drawn:
bands, rings, hollow points.
"""

import textwrap
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.style import (
    AXIS_COLOUR,
    MIN_WEIGHT_MAP,
    PLAIN_TEXT,
    TEXT_COLOUR,
    Picture,
    dress,
    handle,
    legend_below,
    nothing_to_show,
    save,
)
from analysis.plots.looks import BEST_COLOUR, CONTROL_COLOUR
from analysis.plots.plot import UNIT, ColourScale, Line, Panel, Plot, PlotData, Points, common_range, extent, tail

DASHES: Final[dict[str, Any]] = {"solid": "-", "dash": "--", "dot": ":"}
DOTTED: Final = (0, (2, 2))
WIDEST_LABEL: Final = 32  # characters in a line of the y axis's label
RING: Final[dict[str, Any]] = {
    "marker": "o", "linestyle": "", "markersize": 6, "markerfacecolor": "white", "markeredgewidth": 1.5,
}  # fmt: skip


def save_plot(plot: Plot, data: PlotData, folder: Path, prefix: str = "") -> list[Path]:
    """Write the pictures of a plot (each atomically) and return their paths. prefix: beginning of the file names."""
    shown = (data, tail(data)) if plot.has_tail else (data,)
    return [save(draw(part), folder / (prefix + name)) for part, name in zip(shown, plot.pictures, strict=True)]


@rc_context(PLAIN_TEXT)
def draw(data: PlotData) -> Figure:
    """A figure with axes for each panel; y ranges of losses have equal length, those of gains are the same."""
    figure, grid = _axes(data)
    spans = [high - low for low, high in filter(None, map(extent, data.panels))]
    span = 1.1 * max([0.01, *spans])
    y_range = common_range(data)
    for axes, panel in zip(grid, data.panels, strict=False):
        _draw_panel(axes, panel, data)
        if data.is_difference:
            axes.set_ylim(*y_range)
        elif ends := extent(panel):
            axes.set_ylim(sum(ends) / 2 - span / 2, sum(ends) / 2 + span / 2)
    if data.scale and data.panels:
        _colour_bar(figure, grid[: len(data.panels)], data.scale)
    legend_below(figure, _handles(data))
    # Add the height of the legend, so that many arms do not flatten the panels.
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    for legend in figure.legends:
        figure.set_figheight(figure.get_figheight() + legend.get_window_extent(renderer).height / figure.dpi)
    return figure


def _axes(data: PlotData) -> tuple[Figure, list[Axes]]:
    """A figure with axes for each panel, at most three in a row; without panels, axes that say so."""
    number = len(data.panels)
    columns = min(max(number, 1), 2 if number == 4 else 3)
    rows = -(-max(number, 1) // columns)
    figure = Picture(figsize=(max(3.4 * columns + 0.7, 6.4), 2.8 * rows + 0.4), layout="constrained")
    has_points = any(panel.points for panel in data.panels)
    axes_RxC = figure.subplots(rows, columns, squeeze=False, sharex=has_points, sharey=data.is_difference)
    grid = list(axes_RxC.ravel())
    for index, axes in enumerate(grid):
        dress(axes)
        axes.set_visible(index < max(number, 1))
        axes.set_xlabel(data.x_title if index + columns >= number else "", fontsize=9, color=TEXT_COLOUR)
        axes.tick_params(labelbottom=index + columns >= number or not has_points)
        label = f"{textwrap.fill(data.y_title, WIDEST_LABEL)}\n({UNIT})" if index % columns == 0 else ""
        axes.set_ylabel(label, fontsize=9, color=TEXT_COLOUR)
    if not number:
        nothing_to_show(grid[0])
    return figure, grid


def _draw_panel(axes: Axes, panel: Panel, data: PlotData) -> None:
    title = (
        f"{panel.title}\n" if panel.subtitle else panel.title
    )  # in a line above the subtitle, because both may be long
    axes.set_title(title, fontsize=10, loc="left", color=TEXT_COLOUR)
    axes.set_title(panel.subtitle, fontsize=8, loc="right", color=BEST_COLOUR)
    if data.is_difference:
        axes.axhline(0, color=CONTROL_COLOUR, linewidth=1, zorder=1)
    if panel.best_ends is not None:
        axes.axvline(panel.best_ends, color=BEST_COLOUR, linewidth=1, linestyle=DOTTED)
    for line in panel.lines:
        _draw_line(axes, line)
    for points in panel.points:
        _draw_points(axes, points, data.scale)
    if data.x_ticks:
        axes.set_xticks(data.x_ticks)


def _draw_line(axes: Axes, line: Line) -> None:
    z = 2 + line.front / 10
    axes.plot(line.x, line.y, alpha=line.opacity, zorder=z, **_look(line))
    if line.low is not None and line.high is not None:
        axes.fill_between(line.x, line.low, line.high, color=line.colour, alpha=0.14, linewidth=0)
    if line.ring is not None:
        axes.plot(line.ring, np.interp(line.ring, line.x, line.y), color=line.colour, zorder=4, **RING)
    if line.stopped:
        look: dict[str, Any] = {"color": line.colour, "markersize": 4, "markerfacecolor": "white"}
        axes.plot(line.x[-1], line.y[-1], "o", zorder=z, **look)


def _look(line: Line) -> dict[str, Any]:
    return {"color": line.colour, "linewidth": line.width, "linestyle": DASHES[line.dash]}


def _draw_points(axes: Axes, points: Points, scale: ColourScale | None) -> None:
    """Draw points one by one, because each has its own colour and face."""
    if points.spread is not None:
        look: dict[str, Any] = {"color": points.colour, "capsize": 2.5, "markersize": 9, "zorder": 4}
        axes.errorbar(points.x, points.y, yerr=points.spread, fmt=points.marker.matplotlib, **look)
        return
    norm = Normalize(0, scale.top if scale else 1)
    for i in range(points.x.size):
        colour = points.colour if points.values is None else MIN_WEIGHT_MAP(norm(points.values[i]))
        face = "white" if points.hollow is not None and points.hollow[i] else colour
        look = {"markerfacecolor": face, "markeredgecolor": colour, "markersize": 6, "markeredgewidth": 1.4}
        axes.plot(points.x[i], points.y[i], points.marker.matplotlib, zorder=3, **look)


def _colour_bar(figure: Figure, panels: list[Axes], scale: ColourScale) -> None:
    bar = figure.colorbar(ScalarMappable(Normalize(0, scale.top), MIN_WEIGHT_MAP), ax=panels, pad=0.02, aspect=30)
    bar.set_label(scale.title, fontsize=9, color=TEXT_COLOUR)
    bar.set_ticks(list(scale.ticks))
    bar.ax.tick_params(labelsize=8, color=AXIS_COLOUR, labelcolor=TEXT_COLOUR)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _handles(data: PlotData) -> list[Line2D]:
    """Legend entries, each once: lines, points, and the meaning of their marks."""
    lines = [line for panel in data.panels for line in panel.lines]
    points = [group for panel in data.panels for group in panel.points]
    handles = {line.legend or line.label: handle(line.legend or line.label, **_look(line)) for line in lines}
    for group in points:
        look: dict[str, Any] = {"color": group.colour, "marker": group.marker.matplotlib, "linestyle": ""}
        look |= {"markersize": 6} if group.spread is None else {"markersize": 9, "markeredgewidth": 1.5}
        handles[group.legend or group.label] = handle(group.legend or group.label, **look)
    grey: dict[str, Any] = {"color": CONTROL_COLOUR}
    explained = {
        "teacher at its minimum weight": (
            any(panel.best_ends is not None for panel in data.panels),
            {"color": BEST_COLOUR, "linewidth": 1, "linestyle": DOTTED},
        ),
        "teacher ends here": (any(line.ring is not None for line in lines), grey | RING),
        "band: lowest to highest unit": (
            any(line.low is not None for line in lines),
            grey | {"linewidth": 6, "alpha": 0.2},
        ),
        "stopped by ASHA": (any(line.stopped for line in lines), grey | RING | {"markersize": 4, "markeredgewidth": 1}),
        "hollow: stopped by ASHA, gain at that step": (
            any(group.hollow is not None and group.hollow.any() for group in points),
            grey | RING | {"markeredgewidth": 1},
        ),
    }
    return [*handles.values(), *(handle(text, **look) for text, (drawn, look) in explained.items() if drawn)]
