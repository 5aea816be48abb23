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
    """A curve, with an optional band around it and optional marks on it."""

    label: str  # in the legend; lines with the same label share an entry
    legend: str = ""  # longer label for a picture, whose one legend serves all panels
    x: Numbers
    y: Numbers
    low: Numbers | None = None  # the band, where the line is a mean over several units
    high: Numbers | None = None
    units: Numbers | None = None  # number of units in the mean, at each x
    colour: str
    width: float = 1.5
    dash: Dash = "solid"
    opacity: float = 1.0
    front: int = 0  # a line is drawn over lines with a lower number
    ring: float | None = None  # x at which the teacher of the line ends
    stopped: bool = False  # whether ASHA stopped the trial at the last x
    trial: str = ""  # name and state of the trial, where the line is one trial; shown under the pointer
    state: str = ""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points that share a marker and an entry in the legend."""

    label: str
    legend: str = ""
    x: Numbers
    y: Numbers
    marker: Marker
    colour: str  # in the legend, and of the points unless `values` is given
    values: Numbers | None = None  # positions on the colour scale of the plot
    hollow: NDArray[np.bool_] | None = None  # points of trials that ASHA stopped
    spread: float | None = None  # half the length of an error bar
    notes: tuple[str, ...] = ()  # text of each point under the pointer


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines and points on one pair of axes."""

    title: str
    lines: tuple[Line, ...] = ()
    points: tuple[Points, ...] = ()
    subtitle: str = ""  # the best schedule in words
    best_ends: float | None = None  # x at which the best schedule reaches its minimum weight


@dataclass(frozen=True, kw_only=True)
class ColourScale:
    """Colour scale of points: a value from 0 to `top`."""

    title: str
    top: float
    ticks: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class PlotData:
    """Everything that is drawn in one plot. y is in nats per token."""

    title: str
    note: str
    x_title: str = STEP_TITLE
    y_title: str
    panels: tuple[Panel, ...]
    is_difference: bool = False  # y is a difference: 0 is marked, and all panels have the same y range
    x_ticks: tuple[float, ...] = ()  # set where x has few values
    scale: ColourScale | None = None


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot of the report: its name, its places, and the function that makes its data (None: not for this run)."""

    name: str  # file name of the picture, without .png
    make: Callable[[Findings], PlotData | None]
    in_pictures: bool = True
    on_page: bool = True
    has_tail: bool = False  # whether the last 40 % of the steps are also shown alone
    opens_page: bool = False  # shown directly below the verdict

    @property
    def pictures(self) -> tuple[str, ...]:
        """File names of the pictures of the plot."""
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
    """Lowest and highest y of everything in a panel; None for an empty panel."""
    parts = [array for line in panel.lines for array in (line.y, line.low, line.high) if array is not None]
    parts += [points.y + side * (points.spread or 0) for points in panel.points for side in (-1, 1)]
    drawn = np.concatenate(parts) if parts else np.array([])
    drawn = drawn[np.isfinite(drawn)]
    return (float(drawn.min()), float(drawn.max())) if drawn.size else None


def common_range(data: PlotData) -> tuple[float, float]:
    """The y range that panels of differences share: everything drawn, with a margin, and 0 where there are points."""
    ends = [value for panel in data.panels for value in (extent(panel) or ())]
    ends += [0.0] if not ends or any(panel.points for panel in data.panels) else []
    room = 0.05 * max(max(ends) - min(ends), 0.01)
    return min(ends) - room, max(ends) + room
