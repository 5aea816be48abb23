"""The parts of a plot: lines and points in panels, with labels and looks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.plots.looks import Dash, Marker
from analysis.results import Findings

Numbers = NDArray[np.float64]

UNIT: Final = "nats per token"  # of every y axis
TAIL: Final = 0.4  # share of the steps that the tail of a plot shows
STEP_TITLE: Final = "optimizer steps"
LOSS_TITLE: Final = "validation loss"
GAIN_TITLE: Final = "gain over the control"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve, maybe with a band around it and marks on it."""

    label: str  # in the legend; lines that share one share an entry
    legend: str = ""  # what the legend of a picture, which has one for all panels, says instead
    x: Numbers
    y: Numbers
    low: Numbers | None = None  # the band, where the line is a mean over several units
    high: Numbers | None = None
    units: Numbers | None = None  # how many the mean is over, at each x
    colour: str
    width: float = 1.5
    dash: Dash = "solid"
    opacity: float = 1.0
    front: int = 0  # drawn over lines with a lower number
    ring: float | None = None  # x at which its teacher ends
    stopped: bool = False  # whether ASHA ended it at its last x
    trial: str = ""  # where a line is one trial: its name and how it ended, told under the pointer
    state: str = ""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points that share a marker and an entry in the legend."""

    label: str
    legend: str = ""
    x: Numbers
    y: Numbers
    marker: Marker
    colour: str  # of their entry in the legend, and their own unless `values` has theirs
    values: Numbers | None = None  # positions on the colour scale of the plot
    hollow: NDArray[np.bool_] | None = None  # which were stopped by ASHA
    spread: float | None = None  # half the length of an error bar
    notes: tuple[str, ...] = ()  # what is told of each under the pointer


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What is drawn on one pair of axes."""

    title: str
    lines: tuple[Line, ...] = ()
    points: tuple[Points, ...] = ()
    subtitle: str = ""  # of its best schedule
    best_ends: float | None = None  # x at which the best schedule comes down to its minimum weight


@dataclass(frozen=True, kw_only=True)
class ColourScale:
    """What the colour of a point says: a value from 0 to `top`."""

    title: str
    top: float
    ticks: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class PlotData:
    """All that is drawn of one plot. y is in nats per token."""

    title: str
    note: str
    x_title: str = STEP_TITLE
    y_title: str
    panels: tuple[Panel, ...]
    is_difference: bool = False  # y is one: 0 is marked, and panels have the same range, not only one of equal length
    x_ticks: tuple[float, ...] = ()  # where x has few values
    scale: ColourScale | None = None


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot of the report: its name, where it is shown, and what makes its data (None: not for this run)."""

    name: str  # of its picture, without .png
    make: Callable[[Findings], PlotData | None]
    in_pictures: bool = True
    on_page: bool = True
    has_tail: bool = False  # whether the last 40 % of the steps can be seen alone
    opens_page: bool = False  # stands below the verdict, before all else

    @property
    def pictures(self) -> tuple[str, ...]:
        """File names of its pictures."""
        shown = (self.name, *([f"{self.name}_tail"] if self.has_tail else ()))
        return tuple(f"{name}.png" for name in shown) if self.in_pictures else ()


def tail(data: PlotData) -> PlotData:
    """A plot cut to the last 40 % of the steps of each panel."""
    return replace(data, panels=tuple(map(_panel_tail, data.panels)))


def tail_start(panel: Panel) -> float:
    """The x at which the last 40 % of a panel's steps begin."""
    return (1 - TAIL) * max((float(line.x[-1]) for line in panel.lines if line.x.size), default=0.0)


def _panel_tail(panel: Panel) -> Panel:
    start = tail_start(panel)
    lines = tuple(_from(line, start) for line in panel.lines if line.x.size and line.x[-1] >= start)
    ends = panel.best_ends
    return replace(panel, lines=lines, best_ends=ends if ends is not None and ends >= start else None)


def _from(line: Line, start: float) -> Line:
    kept = line.x >= start
    arrays = {name: getattr(line, name) for name in ("x", "y", "low", "high", "units")}
    cut = {name: array[kept] for name, array in arrays.items() if array is not None}
    ring = line.ring if line.ring is not None and line.ring >= cut["x"][0] else None
    return replace(line, ring=ring, **cut)


def extent(panel: Panel) -> tuple[float, float] | None:
    """Lowest and highest y of all that is drawn in a panel; None for an empty panel."""
    parts = [array for line in panel.lines for array in (line.y, line.low, line.high) if array is not None]
    parts += [points.y + side * (points.spread or 0) for points in panel.points for side in (-1, 1)]
    drawn = np.concatenate(parts) if parts else np.array([])
    drawn = drawn[np.isfinite(drawn)]
    return (float(drawn.min()), float(drawn.max())) if drawn.size else None


def common_range(data: PlotData) -> tuple[float, float]:
    """The y range of every panel of differences: all that is drawn, and 0 where there are points, with some room."""
    ends = [value for panel in data.panels for value in (extent(panel) or ())]
    ends += [0.0] if not ends or any(panel.points for panel in data.panels) else []
    room = 0.05 * max(max(ends) - min(ends), 0.01)
    return min(ends) - room, max(ends) + room
