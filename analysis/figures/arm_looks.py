"""Which colour and line an arm has, and what the legend says of it: in the order of the study, controls grey."""

import re
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import ARM, ROLE
from analysis.figures.style import CONTROL_COLOUR
from analysis.tables.arm_lines import ENDS, NOTE, PANEL, PLACE, UNITS
from trainable import names

# Okabe and Ito's, which colour-blind readers tell apart; with line styles once they are used up.
ARM_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
STYLES: Final = ("-", "--")


def looks_of(lines: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour and line style of each arm, in the order of the legend: controls grey and thick."""
    arms, controls = list(legend_text(lines)), set(lines.loc[lines[ROLE] == names.CONTROL, ARM])
    grey = {"color": CONTROL_COLOUR, "linewidth": 2.2}
    looks: dict[str, dict[str, Any]] = {
        arm: grey | {"linestyle": STYLES[i % 2]} for i, arm in enumerate(a for a in arms if a in controls)
    }
    for i, arm in enumerate(a for a in arms if a not in controls):
        style = STYLES[i // len(ARM_COLOURS) % len(STYLES)]
        looks[arm] = {"color": ARM_COLOURS[i % len(ARM_COLOURS)], "linestyle": style, "linewidth": 1.5}
    return looks


def legend_text(lines: pd.DataFrame) -> dict[str, str]:
    """What the legend says of each arm: its name, its units, where its teacher ends.

    Controls first, then as the study lists its arms, then (in tables that know no list) by name.
    """
    arms = lines.drop_duplicates([*PANEL, ARM])
    order = sorted(
        set(zip(arms[ROLE] != names.CONTROL, arms[PLACE], arms[ARM], strict=True)),
        key=lambda found: (*found[:2], _natural(found[2])),
    )
    return {arm: _legend_line(arm, arms[arms[ARM] == arm]) for _, _, arm in order}


def _natural(arm: str) -> list[tuple[int, str]]:
    """Sorts "linear 60" before "linear 240"."""
    parts = [part for part in re.split(r"(\d+)", arm) if part]
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _legend_line(arm: str, panels: pd.DataFrame) -> str:
    """`panels`: one row a panel that has the arm. Values that differ between panels are given in their order."""
    facts = [_in_order(f"{end:.0f}" if np.isfinite(end) else "never" for end in panels[ENDS] if not np.isnan(end))]
    facts = [("teacher never ends" if end == "never" else f"teacher ends at {end}") for end in facts if end]
    units = _in_order(f"{n}" for n in panels[UNITS])
    facts += [f"n = {units}"] if (panels[UNITS] > 1).any() else []
    facts += [note for note in dict.fromkeys(panels[NOTE]) if note]
    name = arm.replace("none", "control", 1) if (panels[ROLE] == names.CONTROL).all() else arm
    return f"{name} ({'; '.join(facts)})" if facts else name


def _in_order(values: Iterable[str]) -> str:
    """One value if all are the same, else all: "12 / 24 / 48"."""
    listed = list(values)
    return " / ".join(listed[:1] if len(set(listed)) == 1 else listed)
