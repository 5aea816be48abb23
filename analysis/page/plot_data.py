"""A plot as plotly.js takes it: plain JSON. Here what all plots share: axes, views, numbers, text, colours."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb

from analysis.tables.arm_lines import HIGH, LOW
from analysis.tables.search_lines import TAIL
from trainable import names

LOSS_TITLE: Final = "validation loss (nats per token)"
GAIN_TITLE: Final = "gain (nats per token)"
STEP_TITLE: Final = "optimizer steps"
BLACK: Final = "#000000"
NOT_BLACK: Final = "#999933"  # stands for black, which a dark page would hide
DIGITS: Final = 6  # significant ones, of numbers in the page


@dataclass(frozen=True)
class Plot:
    """One figure of plotly.js, as JSON-able data, under a heading ("" for none)."""

    title: str
    figure: dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Plots of one thing, a plot a panel; `zooms`: they can show the end of the run alone."""

    title: str
    note: str
    plots: tuple[Plot, ...]
    zooms: bool = False


def axes_and_legend(
    x_title: str, y_title: str, entries: int, y_range: Sequence[float] | None = None, hover: str = "x unified"
) -> dict[str, Any]:
    """Axes, a legend below in as many rows as it needs, and a height with room for all of them on a narrow screen."""
    axis = {
        "automargin": True,
        "exponentformat": "none",
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
    }
    rises = y_title != LOSS_TITLE
    y_axis = axis | {"title": {"text": y_title}, "zeroline": rises, "zerolinewidth": 2}
    legend = {"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top", "font": {"size": 12}}
    return {
        "height": 330 + 22 * entries,
        "margin": {"l": 56, "r": 10, "t": 28, "b": 50},
        "xaxis": axis | {"title": {"text": x_title, "standoff": 8}},
        "yaxis": y_axis | ({"range": list(y_range)} if y_range else {}),
        "legend": legend,
        "hovermode": hover,
        "showlegend": True,
        "font": {"size": 12},
    }


def views(lines: pd.DataFrame, low: str, high: str, y_range: Sequence[float] | None) -> dict[str, Any]:
    """What the buttons show: the whole run, or its last 40 % with losses to match."""
    last = float(lines[names.STEP].max())
    late = lines[lines[names.STEP] >= (1 - TAIL) * last]
    whole = {"xaxis.autorange": True} | ({"yaxis.range": list(y_range)} if y_range else {"yaxis.autorange": True})
    steps = [float(late[names.STEP].min()), last]
    return {"whole": whole, "tail": {"xaxis.range": steps, "yaxis.range": limits(late, low, high)}}


def limits(lines: pd.DataFrame, low: str = LOW, high: str = HIGH) -> list[float] | None:
    """From the lowest to the highest, with a little room; None without a line."""
    if lines.empty:
        return None
    least, most = float(lines[low].min()), float(lines[high].max())
    room = 0.05 * max(most - least, 0.01)
    return numbers([least - room, most + room])


def legend_entries(traces: Iterable[Mapping[str, Any]]) -> int:
    return sum(trace.get("showlegend", True) for trace in traces)


def numbers(values: Iterable[Any]) -> list[Any]:
    """Numbers fit for JSON: short, and None for what is not finite."""
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]


def escaped(value: Any) -> str:
    """Escaped, for plotly.js takes some tags in text."""
    return html.escape(str(value), quote=False)


def page_colour(colour: str) -> str:
    return NOT_BLACK if colour == BLACK else colour


def faint(colour: str) -> str:
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return f"rgba({red}, {green}, {blue}, 0.14)"
