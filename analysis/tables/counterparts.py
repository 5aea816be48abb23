"""Curves of another study beside ours: which of its arms we repeat, on a common axis."""

from typing import Final

import pandas as pd

from analysis.columns import ARM, LAYERS
from analysis.tables.arm_lines import PANEL
from trainable import names

SHARE: Final = "share"  # of the run: step / last step
COUNTERPART: Final = "counterpart"  # of a published arm: the name of our arm that repeats it


def shares(lines: pd.DataFrame) -> pd.DataFrame:
    """`lines` with the column share: step / last step of the panel."""
    return lines.assign(**{SHARE: lines[names.STEP] / lines.groupby(PANEL, dropna=False)[names.STEP].transform("max")})


def repeated(published: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """The published lines at our depths whose arm we have, with its name here; all at our depths if we have none."""
    arms = set(own[ARM])
    here = published[published[LAYERS].isin(own[LAYERS])]
    here = here.assign(**{COUNTERPART: [_counterpart(arm, arms) for arm in here[ARM]]})
    return here[here[COUNTERPART] != ""] if (here[COUNTERPART] != "").any() else here


def _counterpart(arm: str, arms: set[str]) -> str:
    """The published exponential and reciprocal schedules are what we call "as published": over after a few steps."""
    return next((name for name in (f"{arm}, as published", arm) if name in arms), "")
