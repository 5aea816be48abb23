"""Plots of a study's arms: mean and band over steps, a ring where the teacher ends."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import ARM, ROLE
from analysis.figures.arm_looks import looks_of
from analysis.page.plot_data import (
    GAIN_TITLE,
    STEP_TITLE,
    Plot,
    axes_and_legend,
    escaped,
    faint,
    limits,
    numbers,
    page_colour,
    views,
)
from analysis.tables.arm_lines import ENDS, HIGH, LOW, MEAN, PANEL, UNITS
from analysis.tables.differences import panel_words
from trainable import names

DASHES: Final = {"-": "solid", "--": "dash"}


def arm_plots(lines: pd.DataFrame, y_title: str) -> Iterator[Plot]:
    """A plot a depth, budget and validation set: mean and band of each arm, a ring where its teacher ends."""
    looks, keys = looks_of(lines), lines[PANEL].drop_duplicates()
    y_range = limits(lines) if y_title == GAIN_TITLE else None  # gains compare across panels
    for key, here in lines.groupby(PANEL, dropna=False):
        arms = [arm for arm in looks if arm in set(here[ARM])]
        traces = [trace for arm in arms for trace in arm_traces(here[here[ARM] == arm], looks[arm], names.STEP)]
        title = panel_words(key, keys) if len(keys) > 1 else ""
        layout = axes_and_legend(STEP_TITLE, y_title, len(arms), y_range)
        yield Plot(title, {"data": traces, "layout": layout | {"meta": views(here, LOW, HIGH, y_range)}})


def arm_traces(
    line: pd.DataFrame, look: Mapping[str, Any], x: str, name: str = "", dash: str = ""
) -> Iterator[dict[str, Any]]:
    """Band, mean and ring of one arm; they share a place in the legend."""
    arm, colour = line[ARM].iloc[0], page_colour(look["color"])
    control = line[ROLE].iloc[0] == names.CONTROL
    label = name or (str(arm).replace("none", "control", 1) if control else arm)
    shared = {"type": "scatter", "legendgroup": escaped(label), "name": escaped(label)}
    silent = shared | {"showlegend": False, "hoverinfo": "skip"}
    if line[UNITS].max() > 1:
        band = {"mode": "lines", "line": {"width": 0}, "fill": "toself", "fillcolor": faint(colour)}
        around = {"x": numbers([*line[x], *line[x][::-1]]), "y": numbers([*line[HIGH], *line[LOW][::-1]])}
        yield silent | band | around
    style = {"color": colour, "width": look["linewidth"] + 0.3, "dash": dash or DASHES[look["linestyle"]]}
    told = [[*numbers(row[:2]), int(row[2])] for row in line[[LOW, HIGH, UNITS]].to_numpy()]
    spread = " (%{customdata[0]:.4f} to %{customdata[1]:.4f}, n = %{customdata[2]})" if line[UNITS].max() > 1 else ""
    hover = {"customdata": told, "hovertemplate": f"%{{fullData.name}}: %{{y:.4f}}{spread}<extra></extra>"}
    yield shared | hover | {"mode": "lines", "line": style, "x": numbers(line[x]), "y": numbers(line[MEAN])}
    ends, steps = float(line[ENDS].iloc[0]), line[names.STEP].to_numpy(float)
    if x == names.STEP and steps[0] <= ends <= steps[-1]:
        at = float(np.interp(ends, steps, line[MEAN].to_numpy(float)))
        ring = {"symbol": "circle-open", "size": 9, "color": colour, "line": {"width": 2}}
        yield silent | {"mode": "markers", "marker": ring, "x": [ends], "y": numbers([at])}
