"""Plots of a search: every trial over steps, and the gain of every schedule."""

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd
from matplotlib.colors import to_hex

from analysis.columns import LAYERS, MIN_WEIGHT, SCHEDULE, STATE, TEACHER_STEPS, TRIAL
from analysis.figures.style import BEST_COLOUR, COLOURS, CONTROL_COLOUR, FLOORS
from analysis.page.plot_data import (
    GAIN_TITLE,
    STEP_TITLE,
    Plot,
    axes_and_legend,
    escaped,
    legend_entries,
    limits,
    numbers,
    views,
)
from analysis.tables.arm_lines import HIGH, LOW
from analysis.tables.best import CONFIRMED, CONFIRMED_N, CONFIRMED_SD
from analysis.tables.search_lines import KIND
from analysis.wording import describe, plural
from trainable import names

SYMBOLS: Final = {"linear": "circle", "exponential": "square", "reciprocal": "triangle-up", "step": "diamond"}


def trial_plots(lines: pd.DataFrame, column: str, y_title: str) -> Iterator[Plot]:
    """A plot a depth: a line a trial, coloured by type, the best thick, the control grey."""
    y_range = limits(lines, column, column) if column == names.GAIN else None
    several = lines[LAYERS].nunique() > 1
    for depth, here in lines.groupby(LAYERS):
        trials = sorted((trial for _, trial in here.groupby(TRIAL)), key=_trial_order)
        traces = [trace for trial in trials for trace in _trial_traces(trial, column)]
        firsts: set[str] = set()
        for trace in traces:  # a type is once in the legend
            trace["showlegend"] = trace["mode"] == "lines" and trace["legendgroup"] not in firsts
            firsts |= {trace["legendgroup"]} if trace["showlegend"] else set()
        layout = axes_and_legend(STEP_TITLE, y_title, len(firsts), y_range, hover="closest")
        meta = {"meta": views(here, column, column, y_range)}
        yield Plot(plural(int(depth)) if several else "", {"data": traces, "layout": layout | meta})


def _trial_order(trial: pd.DataFrame) -> tuple[int, str]:
    """Drawn last, seen best."""
    return ["guided", "control", "best"].index(trial[KIND].iloc[0]), str(trial[SCHEDULE].iloc[0])


def _trial_traces(trial: pd.DataFrame, column: str) -> Iterator[dict[str, Any]]:
    last = trial.iloc[-1]
    kind, schedule = last[KIND], last[SCHEDULE]
    colour = {"control": CONTROL_COLOUR, "best": BEST_COLOUR}.get(kind) or _type_colour(schedule)
    label = {"control": "control", "best": f"best: {describe(last)}"}.get(kind, schedule)
    width = 1.1 if kind == "guided" else 2.6
    hover = f"%{{text}}<br>step %{{x}}: %{{y:.4f}}<extra>{escaped(last[STATE])}</extra>"
    shared = {"type": "scatter", "name": escaped(label), "legendgroup": escaped(label)}
    xs, ys = numbers(trial[names.STEP]), numbers(trial[column])
    told = {"text": [escaped(last[TRIAL])] * len(xs), "hovertemplate": hover}
    line = {"color": colour, "width": width}
    yield shared | told | {"mode": "lines", "line": line, "opacity": 0.8 if kind == "guided" else 1, "x": xs, "y": ys}
    if last[STATE] == names.STOPPED:
        ring = {"symbol": "circle-open", "size": 7, "color": colour}
        yield shared | {"mode": "markers", "marker": ring, "hoverinfo": "skip", "x": xs[-1:], "y": ys[-1:]}


def schedule_plots(points: pd.DataFrame, marks: pd.DataFrame) -> Iterator[Plot]:
    """A plot a depth: gain over scheduling steps, shape by type, colour by floor, hollow when stopped."""
    types = [name for name in SYMBOLS if name in set(points[SCHEDULE])]
    nudge = 0.02 * float(points[TEACHER_STEPS].max()) if len(points) else 0.0
    confirmed = marks[marks[CONFIRMED_N] > 0]
    ends = [points[names.GAIN], confirmed[CONFIRMED] - confirmed[CONFIRMED_SD].fillna(0)]
    ends += [confirmed[CONFIRMED] + confirmed[CONFIRMED_SD].fillna(0), pd.Series([0.0])]
    y_range = limits(pd.DataFrame({LOW: pd.concat(ends), HIGH: pd.concat(ends)}))
    top = max(float(points[MIN_WEIGHT].max()), 0.01) if len(points) else 1.0
    for depth, here in points.groupby(LAYERS):
        shifted = {name: (i - (len(types) - 1) / 2) * nudge for i, name in enumerate(types)}
        parts = [here[here[SCHEDULE] == name] for name in types]
        traces = [t for part in parts if len(part) for t in _schedule_traces(part, shifted[part[SCHEDULE].iloc[0]])]
        best = confirmed[confirmed[LAYERS] == depth]
        traces += [_confirmed_trace(row, shifted.get(row[SCHEDULE], 0) + nudge / 2) for _, row in best.iterrows()]
        layout = axes_and_legend("scheduling steps T", GAIN_TITLE, legend_entries(traces), y_range, hover="closest")
        title = plural(int(depth)) if points[LAYERS].nunique() > 1 else ""
        yield Plot(title, {"data": traces, "layout": layout | {"coloraxis": _floor_axis(float(top))}})


def _schedule_traces(points: pd.DataFrame, shift: float) -> Iterator[dict[str, Any]]:
    """The points of one type, and its entry in the legend, which is grey, for colour tells the floor."""
    name = points[SCHEDULE].iloc[0]
    symbol = SYMBOLS[name]
    shared = {"type": "scatter", "mode": "markers", "name": escaped(name), "legendgroup": escaped(name)}
    yield shared | {"x": [None], "y": [None], "marker": {"symbol": symbol, "size": 9, "color": CONTROL_COLOUR}}
    told = [
        f"{escaped(row[TRIAL])}<br>{escaped(describe(row))}<br>{escaped(row[STATE])} at step {row[names.STEP]}"
        for _, row in points.iterrows()
    ]
    marker = {
        "symbol": [symbol + ("-open" if state == names.STOPPED else "") for state in points[STATE]],
        "size": 10,
        "color": numbers(points[MIN_WEIGHT]),
        "coloraxis": "coloraxis",
        "line": {"width": [2 if state == names.STOPPED else 0 for state in points[STATE]]},
    }
    yield shared | {
        "showlegend": False,
        "marker": marker,
        "x": numbers(points[TEACHER_STEPS] + shift),
        "y": numbers(points[names.GAIN]),
        "text": told,
        "hovertemplate": "%{text}: gain %{y:+.4f}<extra></extra>",
    }


def _confirmed_trace(mark: Any, shift: float) -> dict[str, Any]:
    sd = float(mark[CONFIRMED_SD]) if mark[CONFIRMED_N] > 1 else 0.0
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "best, on other seeds",
        "marker": {"symbol": "line-ew", "size": 12, "line": {"width": 3, "color": BEST_COLOUR}},
        "error_y": {"type": "data", "array": numbers([sd]), "color": BEST_COLOUR, "thickness": 2, "width": 4},
        "x": numbers([mark[TEACHER_STEPS] + shift]),
        "y": numbers([mark[CONFIRMED]]),
        "text": [f"{escaped(describe(mark))}, {int(mark[CONFIRMED_N])} other seeds"],
        "hovertemplate": "%{text}: mean gain %{y:+.4f}<extra></extra>",
    }


def _floor_axis(top: float) -> dict[str, Any]:
    """The colours of the floor, from 0 to the highest; the darkest end is left out, for a dark page would hide it."""
    scale = [[share, to_hex(FLOORS(0.25 + 0.75 * share))] for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    bar = {"title": {"text": "floor", "side": "top"}, "thickness": 10, "len": 0.9, "outlinewidth": 0}
    return {"colorscale": scale, "cmin": 0, "cmax": top, "colorbar": bar}


def _type_colour(schedule: str) -> str:
    return COLOURS.get(schedule, CONTROL_COLOUR)
