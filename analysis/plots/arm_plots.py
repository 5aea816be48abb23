"""Plots of a study's arms over steps: validation loss, gain, training loss.

Each arm has a line, with a band from its lowest to its highest unit and a ring where its teacher ends. Each depth,
budget and validation set has a panel. `PLOTS` lists the plots of a comparison.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import ARM, EVAL_ROWS, ROLE
from analysis.plots.looks import ArmLook, arm_label, arm_looks
from analysis.plots.plot import GAIN_TITLE, LOSS_TITLE, Line, Panel, Plot, PlotData
from analysis.results import Findings, Results
from analysis.tables.arm_lines import BUDGET, ENDS, HIGH, LOW, MEAN, PANEL, UNITS, arm_lines
from analysis.tables.differences import gain_lines
from analysis.tables.planned import planned_trials
from analysis.wording import plural
from trainable import names

UNITS_NOTE: Final = "A line is the mean over units (seeds or folds); the band runs from the lowest to the highest unit"


def arm_panels(lines: pd.DataFrame) -> tuple[Panel, ...]:
    """A panel for each depth, budget and validation set of a table of `arm_lines`."""
    looks = arm_looks(lines)
    groups = lines.groupby(PANEL, dropna=False)
    return tuple(Panel(title=_title(key, lines), lines=tuple(_lines(here, looks))) for key, here in groups)


def _lines(panel: pd.DataFrame, looks: dict[str, ArmLook]) -> Iterator[Line]:
    for arm, look in looks.items():
        here = panel[panel[ARM] == arm]
        if len(here):
            yield arm_line(here, look, names.STEP)


def arm_line(line: pd.DataFrame, look: ArmLook, x: str, label: str = "") -> Line:
    """Line of one arm in one panel over the column `x`; the end of its teacher is marked only over steps."""
    arm, is_control = str(line[ARM].iloc[0]), line[ROLE].iloc[0] == names.CONTROL
    steps, ends = line[names.STEP].to_numpy(float), float(line[ENDS].iloc[0])
    several = line[UNITS].max() > 1
    return Line(
        label=label or arm_label(arm, is_control),
        legend="" if label else look.legend,
        x=line[x].to_numpy(float),
        y=line[MEAN].to_numpy(float),
        low=line[LOW].to_numpy(float) if several else None,
        high=line[HIGH].to_numpy(float) if several else None,
        units=line[UNITS].to_numpy(float) if several else None,
        colour=look.colour,
        width=look.width,
        dash=look.dash,
        ring=ends if x == names.STEP and steps[0] <= ends <= steps[-1] else None,
    )


def _title(key: tuple[Any, ...], lines: pd.DataFrame) -> str:
    """Title of a panel: the depth, and the budget and validation set where they vary."""
    layers, steps, rows = key
    parts = [plural(int(layers))]
    parts += [f"{steps:,.0f} steps"] if lines[BUDGET].nunique() > 1 else []
    several = lines[EVAL_ROWS].nunique(dropna=False) > 1
    parts += [f"{rows:,.0f} validation rows" if np.isfinite(rows) else "all validation rows"] if several else []
    return ", ".join(parts)


def loss_by_arm(results: Results, arms: Sequence[str], plans: pd.DataFrame | None = None) -> PlotData:
    """Validation loss of each arm."""
    return PlotData(
        title="Validation loss by arm",
        note=f"{UNITS_NOTE}; a ring shows where a teacher ends. Plain cross-entropy, teacher off. Click an arm in the "
        "legend to hide it; drag to zoom.",
        y_title=LOSS_TITLE,
        panels=arm_panels(arm_lines(results, names.EVAL_LOSS, arms, plans)),
    )


def training_loss_by_arm(results: Results, arms: Sequence[str], plans: pd.DataFrame | None = None) -> PlotData:
    """Training loss of each arm. Arms have different objectives, so their training losses cannot be compared."""
    return PlotData(
        title="Training loss by arm",
        note=f"{UNITS_NOTE}. Each arm trains on its own objective, so the training losses of arms cannot be compared.",
        y_title="training loss, each arm's own objective: do not compare arms",
        panels=arm_panels(arm_lines(results, names.TRAIN_LOSS, arms, plans)),
    )


def gain_by_arm(results: Results, arms: Sequence[str], plans: pd.DataFrame | None = None) -> PlotData | None:
    """Gain of each arm in the panels with a guided arm; None without such a panel."""
    gain = gain_lines(results, arms, plans)
    gain = gain[(gain[ROLE] != names.CONTROL).groupby([gain[key] for key in PANEL], dropna=False).transform("any")]
    if gain.empty:
        return None
    return PlotData(
        title="Gain over steps",
        note=f"{UNITS_NOTE}. The line at 0 is the control of the same unit; an arm above it is better than the "
        "control.",
        y_title=GAIN_TITLE,
        panels=arm_panels(gain),
        is_difference=True,
    )


def _of(found: Findings) -> tuple[Results, tuple[str, ...], pd.DataFrame]:
    """Results, arms and planned trials of a run."""
    return found.results, found.record.arms, planned_trials(found.record)


LOSS: Final = Plot(name="curves", make=lambda found: loss_by_arm(*_of(found)), has_tail=True)
GAIN: Final = Plot(name="gain", make=lambda found: gain_by_arm(*_of(found)), in_pictures=False, has_tail=True)
TRAINING_LOSS: Final = Plot(name="train_loss", make=lambda found: training_loss_by_arm(*_of(found)), on_page=False)
PLOTS: Final = (LOSS, GAIN, TRAINING_LOSS)
