"""How far curves lie apart: guided ones from their control, deeper controls from the first one."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import EVAL_ROWS, FOLD, LAYERS, ROLE, SEED, TRIAL
from analysis.results import Results
from analysis.tables.arm_lines import BUDGET, HIGH, LOW, MEAN, PANEL, arm_lines, shown_trials
from analysis.tables.pairing import beside_controls
from analysis.wording import plural
from trainable import names

PANEL_NAME: Final = "panel"
UNIT: Final = [SEED, FOLD]  # what a guided trial and its control share


def gain_lines(results: Results, arms: Sequence[str] = ()) -> pd.DataFrame:
    """`arm_lines` of the gain: at each step over the control of the same panel, seed and fold, 0 for a control."""
    shown = shown_trials(results)
    points = results.curves[[TRIAL, names.STEP, names.EVAL_LOSS]].merge(shown[[TRIAL, ROLE, *PANEL, *UNIT]], on=TRIAL)
    same = [*PANEL, *UNIT, names.STEP]
    paired = beside_controls(points, same)
    others = results.curves.drop(columns=names.GAIN, errors="ignore")
    curves = others.merge(paired[[TRIAL, names.STEP, names.GAIN]], on=[TRIAL, names.STEP], how="left")
    return arm_lines(Results(results.trials, curves), names.GAIN, arms)


def between_controls(results: Results) -> pd.DataFrame:
    """How far each panel's control is below the control of the first panel (fewest layers, fewest rows), by step.

    Columns: model.layers, budget, corpus.eval_rows, panel (in words), step, mean, low, high (all the same), units.
    """
    lines = arm_lines(results, names.EVAL_LOSS)
    lines = lines[lines[ROLE] == names.CONTROL]
    if lines.empty:
        return lines.assign(**{PANEL_NAME: ""})
    keys = lines[PANEL].drop_duplicates().sort_values(PANEL)
    first = lines.merge(keys.iloc[:1], on=PANEL)[[names.STEP, MEAN]]
    others = lines.merge(keys.iloc[1:], on=PANEL).merge(first, on=names.STEP, suffixes=("", "_first"))
    below = others[f"{MEAN}_first"] - others[MEAN]
    words = [panel_words(key, keys, " rather than ") for key in others[PANEL].itertuples(index=False, name=None)]
    return others.assign(**{MEAN: below, LOW: below, HIGH: below, PANEL_NAME: words})


def panel_words(key: tuple[Any, ...], keys: pd.DataFrame, versus: str = "") -> str:
    """What tells a panel from the others: "2 layers"; with `versus`, "2 layers rather than 1 layer"."""
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
