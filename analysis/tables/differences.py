"""Differences between curves: guided ones and their control, controls of different panels."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import EVAL_ROWS, LAYERS, ROLE, TRIAL
from analysis.results import Results
from analysis.tables.answer import UNIT
from analysis.tables.arm_lines import BUDGET, PANEL, arm_lines, shown_trials
from analysis.tables.pairing import beside_controls
from analysis.wording import plural
from trainable import names

PANEL_NAME: Final = "panel"


def gain_lines(results: Results, arms: Sequence[str] = (), plans: pd.DataFrame | None = None) -> pd.DataFrame:
    """`arm_lines` of the gain over the control of the same panel, seed, fold and step; 0 for a control."""
    shown = shown_trials(results)
    points = results.curves[[TRIAL, names.STEP, names.EVAL_LOSS]].merge(shown[[TRIAL, ROLE, *PANEL, *UNIT]], on=TRIAL)
    same = [*PANEL, *UNIT, names.STEP]
    paired = beside_controls(points, same)
    others = results.curves.drop(columns=names.GAIN, errors="ignore")
    curves = others.merge(paired[[TRIAL, names.STEP, names.GAIN]], on=[TRIAL, names.STEP], how="left")
    return arm_lines(Results(results.trials, curves), names.GAIN, arms, plans)


def between_controls(results: Results) -> pd.DataFrame:
    """Loss of the first panel's control (fewest layers, fewest rows) - loss of each other panel's control, by step.

    Controls of the same seed and fold are paired, then averaged. Columns: those of `arm_lines`, and panel (in words).
    """
    shown = shown_trials(results)
    shown = shown[shown[ROLE] == names.CONTROL]
    keys = shown[PANEL].drop_duplicates().sort_values(PANEL)
    points = results.curves[[TRIAL, names.STEP, names.EVAL_LOSS]].merge(shown[[TRIAL, *PANEL, *UNIT]], on=TRIAL)
    first = points.merge(keys.iloc[:1], on=PANEL)[[*UNIT, names.STEP, names.EVAL_LOSS]]
    others = points.merge(keys.iloc[1:], on=PANEL).merge(first, on=[*UNIT, names.STEP], suffixes=("", "_first"))
    below = others[f"{names.EVAL_LOSS}_first"] - others[names.EVAL_LOSS]
    curves = others[[TRIAL, names.STEP]].assign(**{names.EVAL_LOSS: below})
    lines = arm_lines(Results(results.trials, curves), names.EVAL_LOSS)
    words = [panel_words(key, keys, " rather than ") for key in lines[PANEL].itertuples(index=False, name=None)]
    return lines.assign(**{PANEL_NAME: words})


def panel_words(key: tuple[Any, ...], keys: pd.DataFrame, versus: str = "") -> str:
    """The settings in which a panel differs from others: "2 layers"; with `versus`, "2 layers rather than 1 layer"."""
    parts = []
    for column, value in zip(PANEL, key, strict=True):
        if keys[column].nunique(dropna=False) > 1 or (column == LAYERS and not versus):
            parts.append(_value_words(column, value) + (versus and versus + _value_words(column, keys[column].iloc[0])))
    return ", ".join(parts)


def _value_words(column: str, value: float) -> str:
    if column == LAYERS:
        return plural(int(value))
    unit = {BUDGET: "steps", EVAL_ROWS: "validation rows"}[column]
    return f"{value:,.0f} {unit}" if np.isfinite(value) else f"all {unit}"
