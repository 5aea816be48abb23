"""Colours, markers and line styles: of a schedule by its name, of an arm by its place in the study.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart. A schedule that is not in the list below
gets the next spare colour and marker, so every schedule can be drawn.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd

from analysis.columns import ARM, ROLE
from analysis.tables.arm_lines import ARM_INDEX, ENDS, NOTE, PANEL, UNITS
from trainable import names

Dash = Literal["solid", "dash", "dot"]

CONTROL_COLOUR: Final = "#6E6E6E"
BEST_COLOUR: Final = "#D55E00"
MIN_WEIGHT_COLOURS: Final = ("#0B2A5B", "#3E7CB1", "#7FC8A9", "#D9B310")  # dark to light as the minimum weight rises
ARM_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
ARM_DASHES: Final[tuple[Dash, ...]] = ("solid", "dash")


class Marker(NamedTuple):
    """Shape of a point: its name in matplotlib and in plotly."""

    matplotlib: str
    plotly: str


class ScheduleLook(NamedTuple):
    """Look of the trials of one schedule."""

    colour: str
    marker: Marker


class ArmLook(NamedTuple):
    """Look of an arm, and its text in the legend of a picture."""

    colour: str
    dash: Dash
    width: float
    legend: str


BAR: Final = Marker("_", "line-ew")
SCHEDULES: Final = {
    "linear": ScheduleLook("#0072B2", Marker("o", "circle")),
    "exponential": ScheduleLook("#E69F00", Marker("s", "square")),
    "reciprocal": ScheduleLook("#009E73", Marker("^", "triangle-up")),
    "step": ScheduleLook("#CC79A7", Marker("D", "diamond")),
}
SPARE_COLOURS: Final = ("#56B4E9", "#000000", "#882255")  # their number and that of the markers have no common factor
SPARE_MARKERS: Final = (
    *(Marker("v", "triangle-down"), Marker("P", "cross"), Marker("X", "x"), Marker("p", "pentagon")),
    *(Marker("*", "star"), Marker("h", "hexagon"), Marker("<", "triangle-left")),
)


def schedule_looks(schedules: Iterable[str]) -> dict[str, ScheduleLook]:
    """The look of each schedule, in the order of the legend: listed schedules first, then others by name."""
    present = set(schedules)
    others = sorted(present - SCHEDULES.keys())
    spare = {
        name: ScheduleLook(SPARE_COLOURS[i % len(SPARE_COLOURS)], SPARE_MARKERS[i % len(SPARE_MARKERS)])
        for i, name in enumerate(others)
    }
    return {name: look for name, look in SCHEDULES.items() if name in present} | spare


def arm_looks(lines: pd.DataFrame) -> dict[str, ArmLook]:
    """The look of each arm in a table of `arm_lines`, in the order of the legend.

    Controls come first, grey and thick; then arms in the order of the study; then, in tables without such a list, arms
    by name. Where a run has several settings and no guided arm, each setting has a colour of its own.
    """
    arms = lines.drop_duplicates([*PANEL, ARM])
    listed = sorted(
        set(zip(arms[ROLE] != names.CONTROL, arms[ARM_INDEX], arms[ARM], strict=True)),
        key=lambda found: (*found[:2], _natural(found[2])),
    )
    is_settings = len(listed) > 1 and not any(guided for guided, _, _ in listed)  # several, and no guided arm
    looks: dict[str, ArmLook] = {}
    for is_control in (True, False):
        for i, arm in enumerate(arm for guided, _, arm in listed if guided != is_control):
            is_grey = is_control and not is_settings
            colour = CONTROL_COLOUR if is_grey else ARM_COLOURS[i % len(ARM_COLOURS)]
            dash = ARM_DASHES[(i if is_grey else i // len(ARM_COLOURS)) % len(ARM_DASHES)]
            looks[arm] = ArmLook(colour, dash, 2.2 if is_control else 1.5, _legend(arm, arms[arms[ARM] == arm]))
    return looks


def arm_label(arm: str, is_control: bool) -> str:
    """Name of an arm in a legend; `none` is shown as `control`."""
    return arm.replace("none", "control", 1) if is_control else arm


def _natural(arm: str) -> list[tuple[int, str]]:
    """Sort key that puts "linear 60" before "linear 240"."""
    parts = [part for part in re.split(r"(\d+)", arm) if part]
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _legend(arm: str, panels: pd.DataFrame) -> str:
    """Legend text of an arm. panels: a row for each panel with the arm; values that differ are all listed."""
    facts = [_in_order(f"{end:.0f}" if np.isfinite(end) else "never" for end in panels[ENDS] if not np.isnan(end))]
    facts = [("teacher never ends" if end == "never" else f"teacher ends at {end}") for end in facts if end]
    units = _in_order(f"{n}" for n in panels[UNITS])
    facts += [f"n = {units}"] if (panels[UNITS] > 1).any() else []
    facts += [note for note in dict.fromkeys(panels[NOTE]) if note]
    name = arm_label(arm, bool((panels[ROLE] == names.CONTROL).all()))
    return f"{name} ({'; '.join(facts)})" if facts else name


def _in_order(values: Iterable[str]) -> str:
    """One value if all are equal, else all of them: "12 / 24 / 48"."""
    listed = list(values)
    return " / ".join(listed[:1] if len(set(listed)) == 1 else listed)
