"""Any plot of `analysis.plots` as data for plotly.js: plain JSON, one figure for each panel."""

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb

from analysis.plots.looks import MIN_WEIGHT_COLOURS
from analysis.plots.plot import UNIT, ColourScale, Line, Panel, PlotData, Points, common_range, extent, tail

BLACK: Final = "#000000"
NOT_BLACK: Final = "#999933"  # replaces black, which is invisible on a dark page
DIGITS: Final = 6  # significant digits of numbers in the page


@dataclass(frozen=True)
class PageFigure:
    """One figure of plotly.js, as JSON-able data, under a heading ("" for none)."""

    title: str
    figure: dict[str, Any]


def page_figures(data: PlotData) -> tuple[PageFigure, ...]:
    """A figure for each panel of a plot, under the title of the panel where there are several."""
    y_range = numbers(common_range(data)) if data.is_difference else None
    lone = len(data.panels) == 1
    return tuple(PageFigure("" if lone else panel.title, _figure(panel, data, y_range)) for panel in data.panels)


def _figure(panel: Panel, data: PlotData, y_range: list[Any] | None) -> dict[str, Any]:
    in_order = sorted(panel.lines, key=lambda line: line.front)
    traces = [trace for line in in_order for trace in _line_traces(line)]
    traces += [trace for points in panel.points for trace in _points_traces(points)]
    _one_entry_a_label(traces, [line.label for line in panel.lines] + [points.label for points in panel.points])
    closest = bool(panel.points) or any(line.trial for line in panel.lines)
    entries = sum(trace["showlegend"] for trace in traces)
    layout = _layout(data, entries, y_range, "closest" if closest else "x unified")
    if panel.lines:
        layout["meta"] = _views(panel, y_range)
    if data.scale:
        layout["coloraxis"] = _colour_axis(data.scale)
    return {"data": traces, "layout": layout}


def _one_entry_a_label(traces: list[dict[str, Any]], labels: list[str]) -> None:
    """Give each label one entry in the legend, that of its first trace, in the order of `labels`."""
    ranks = {escaped(label): 1000 + i for i, label in enumerate(dict.fromkeys(labels))}
    seen: set[str] = set()
    for trace in traces:
        trace["showlegend"] = trace.get("showlegend", True) and trace["name"] not in seen
        if trace["showlegend"]:
            seen.add(trace["name"])
            trace["legendrank"] = ranks[trace["name"]]


def _line_traces(line: Line) -> Iterator[dict[str, Any]]:
    """Traces of the band, the line and its marks, which share one legend entry."""
    colour = _page_colour(line.colour)
    shared = {"type": "scatter", "legendgroup": escaped(line.label), "name": escaped(line.label)}
    silent = shared | {"showlegend": False, "hoverinfo": "skip"}
    style = {"color": colour, "width": round(line.width + 0.3, 1), "dash": line.dash}
    drawn = {"mode": "lines", "line": style, "opacity": line.opacity, "x": numbers(line.x), "y": numbers(line.y)}
    if line.low is not None and line.high is not None:
        band = {"mode": "lines", "line": {"width": 0}, "fill": "toself", "fillcolor": _faint(colour)}
        around = {"x": numbers([*line.x, *line.x[::-1]]), "y": numbers([*line.high, *line.low[::-1]])}
        yield silent | band | around
    yield shared | drawn | _told(line)
    if line.ring is not None:
        at = float(np.interp(line.ring, line.x, line.y))
        ring = {"symbol": "circle-open", "size": 9, "color": colour, "line": {"width": 2}}
        yield silent | {"mode": "markers", "marker": ring, "x": [line.ring], "y": numbers([at])}
    if line.stopped:
        ring = {"symbol": "circle-open", "size": 7, "color": colour}
        yield silent | {"mode": "markers", "marker": ring, "x": numbers(line.x[-1:]), "y": numbers(line.y[-1:])}


def _told(line: Line) -> dict[str, Any]:
    """Text under the pointer: name and state of a trial, or range and number of the units of a mean."""
    if line.trial:
        told = f"{escaped(line.trial)}<br>step %{{x}}: %{{y:.4f}}<extra>{escaped(line.state)}</extra>"
        return {"hovertemplate": told}
    if line.low is None or line.high is None or line.units is None:
        return {"hovertemplate": "%{fullData.name}: %{y:.4f}<extra></extra>"}
    ends = zip(numbers(line.low), numbers(line.high), line.units, strict=True)
    spread = " (%{customdata[0]:.4f} to %{customdata[1]:.4f}, n = %{customdata[2]})"
    return {
        "customdata": [[low, high, int(units)] for low, high, units in ends],
        "hovertemplate": f"%{{fullData.name}}: %{{y:.4f}}{spread}<extra></extra>",
    }


def _points_traces(points: Points) -> Iterator[dict[str, Any]]:
    """Traces of points; first a trace for the legend alone, where the colour of points shows a value."""
    colour, size = _page_colour(points.colour), 10
    shared = {"type": "scatter", "mode": "markers", "name": escaped(points.label)}
    shared |= {"legendgroup": escaped(points.label)}
    hollow = points.hollow if points.hollow is not None else np.zeros(points.x.size, dtype=bool)
    marker: dict[str, Any] = {
        "symbol": [points.marker.plotly + ("-open" if one else "") for one in hollow],
        "size": size,
        "color": colour,
        "line": {"width": [2 if one else 0 for one in hollow]},
    }
    drawn: dict[str, Any] = shared | {"x": numbers(points.x), "y": numbers(points.y), "marker": marker}
    drawn |= {
        "text": [escaped(note).replace("\n", "<br>") for note in points.notes],
        "hovertemplate": "%{text}<extra></extra>",
    }
    if points.values is not None:
        entry = {"symbol": points.marker.plotly, "size": size - 1, "color": colour}
        yield shared | {"x": [None], "y": [None], "marker": entry}
        marker |= {"color": numbers(points.values), "coloraxis": "coloraxis"}
        drawn["showlegend"] = False
    if points.spread is not None:
        marker |= {"symbol": points.marker.plotly, "size": size + 2, "line": {"width": 3, "color": colour}}
        bar = {"type": "data", "array": numbers([points.spread] * points.x.size)}
        drawn["error_y"] = bar | {"color": colour, "thickness": 2, "width": 4}
    yield drawn


def _layout(data: PlotData, entries: int, y_range: list[Any] | None, hover: str) -> dict[str, Any]:
    """Axes, a legend at the lower edge of the figure, and a height with room for its rows on a narrow screen.

    The position of the legend counts from the edge of the figure, so at any width it stays below the axes.
    """
    axis = {
        "automargin": True,
        "exponentformat": "none",
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
    }
    y_axis = axis | {
        "title": {"text": escaped(f"{data.y_title} ({UNIT})")},
        "zeroline": data.is_difference,
        "zerolinewidth": 2,
    }
    return {
        "height": 330 + 22 * entries,
        "margin": {"l": 56, "r": 10, "t": 28, "b": 50},
        "xaxis": axis | {"title": {"text": escaped(data.x_title), "standoff": 8}},
        "yaxis": y_axis | ({"range": y_range} if y_range else {}),
        "legend": {"orientation": "h", "x": 0, "yref": "container", "y": 0, "yanchor": "bottom", "font": {"size": 12}},
        "hovermode": hover,
        "showlegend": True,
        "font": {"size": 12},
    }


def _views(panel: Panel, y_range: list[Any] | None) -> dict[str, Any]:
    """Axis ranges of the two buttons: the whole run, or its last 40 % with the y range of that part."""
    (late,) = tail(PlotData(title="", note="", y_title="", panels=(panel,))).panels
    steps = [float(value) for line in late.lines for value in line.x]
    low, high = extent(late) or (0.0, 1.0)
    room = 0.05 * max(high - low, 0.01)
    whole = {"xaxis.autorange": True} | ({"yaxis.range": y_range} if y_range else {"yaxis.autorange": True})
    shown = [min(steps, default=0.0), max(steps, default=1.0)]
    return {"whole": whole, "tail": {"xaxis.range": shown, "yaxis.range": numbers([low - room, high + room])}}


def _colour_axis(scale: ColourScale) -> dict[str, Any]:
    """The colour scale from 0 to the highest value, without the darkest end, which a dark page would hide."""
    colours = LinearSegmentedColormap.from_list("minimum weights", MIN_WEIGHT_COLOURS)
    steps = [[share, to_hex(colours(0.25 + 0.75 * share))] for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    bar = {"title": {"text": escaped(scale.title), "side": "right"}, "thickness": 10, "len": 0.9, "outlinewidth": 0}
    return {"colorscale": steps, "cmin": 0, "cmax": scale.top, "colorbar": bar}


def numbers(values: Iterable[Any]) -> list[Any]:
    """Numbers for JSON: rounded to DIGITS significant digits, None for values that are not finite."""
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]


def escaped(value: Any) -> str:
    """Text with HTML escaped, because plotly.js renders some tags."""
    return html.escape(str(value), quote=False)


def _page_colour(colour: str) -> str:
    return NOT_BLACK if colour == BLACK else colour


def _faint(colour: str) -> str:
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return f"rgba({red}, {green}, {blue}, 0.14)"
