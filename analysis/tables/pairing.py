"""Pairs of trials: an arm with its control or another arm at the same step, and the step where a loss was reached."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import (
    ARM,
    ROLE,
    SECONDS_SAVED,
    SECONDS_TO_CONTROL,
    STEPS_SAVED,
    STEPS_TO_CONTROL,
)
from analysis.tables.statistics import DECIMALS
from trainable import names

AGAINST_CONTROL: Final = [STEPS_TO_CONTROL, STEPS_SAVED, SECONDS_TO_CONTROL, SECONDS_SAVED]
OF_CONTROL: Final = "_control"  # suffix of a column with the control's value
DIFFERENCE: Final = "difference"  # loss of the first arm - loss of the second, nats per token


def beside_controls(
    rows: pd.DataFrame, same: Sequence[str], columns: Sequence[str] = (), *, keep_unpaired: bool = False
) -> pd.DataFrame:
    """Join each row with the control's row that has the same values in the columns `same`; a control joins itself.

    Adds `gain` (the control's eval_loss - the row's own, nats per token), and <column>_control for eval_loss and for
    `columns`. Rows without a control are left out, or kept with NaN. Of several such controls, the first counts.
    """
    taken = [*same, *dict.fromkeys([names.EVAL_LOSS, *columns])]
    controls = rows.loc[rows[ROLE] == names.CONTROL, taken].drop_duplicates(list(same))
    how = "left" if keep_unpaired else "inner"
    paired = rows.drop(columns=names.GAIN, errors="ignore").merge(
        controls, on=list(same), how=how, suffixes=("", OF_CONTROL)
    )
    paired[names.GAIN] = paired[names.EVAL_LOSS + OF_CONTROL] - paired[names.EVAL_LOSS]
    return paired


def beside_arm(rows: pd.DataFrame, first: str, second: str, same: Sequence[str]) -> pd.DataFrame:
    """Join the rows of the arms `first` and `second` with the same values in the columns `same`; adds `difference`.

    A row without a finite loss has no pair. Of several such rows of an arm, the first counts.
    """
    taken = rows[np.isfinite(rows[names.EVAL_LOSS])].drop_duplicates([ARM, *same])
    others = taken.loc[taken[ARM] == second, [*same, names.EVAL_LOSS]]
    pairs = taken[taken[ARM] == first].merge(others, on=list(same), suffixes=("", "_second"))
    difference = pairs[names.EVAL_LOSS] - pairs[f"{names.EVAL_LOSS}_second"]
    return pairs.assign(**{DIFFERENCE: difference.round(DECIMALS)})


def loss_at(curve: pd.DataFrame, step: float) -> float:
    """The validation loss of a curve at a step, on the straight line between the evaluations around it.

    NaN before the first evaluation and after the last one.
    """
    known = curve[np.isfinite(curve[names.EVAL_LOSS])]
    if known.empty:
        return np.nan
    steps, losses = (known[name].to_numpy(dtype=float) for name in (names.STEP, names.EVAL_LOSS))
    return float(np.interp(step, steps, losses, left=np.nan, right=np.nan))


def reach(curve: pd.DataFrame, target: float) -> tuple[float, float]:
    """(step, train_seconds) at which a curve first reaches `target` nats per token; NaN, NaN if it never does.

    Straight line between the evaluation that first is at or below the target and the one before it. A loss curve is
    convex, so it lies below that line: the answer errs late, never early, and by less than one evaluation interval.
    """
    curve = curve[np.isfinite(curve[names.EVAL_LOSS])]
    loss, point = curve[names.EVAL_LOSS].to_numpy(), curve[[names.STEP, names.TRAIN_SECONDS]].to_numpy(dtype=float)
    below = np.flatnonzero(loss <= target)
    if len(below) == 0:
        return np.nan, np.nan
    after, before = below[0], max(below[0] - 1, 0)
    share = 1.0 if after == before else (loss[before] - target) / (loss[before] - loss[after])
    step, seconds = point[before] + share * (point[after] - point[before])
    return float(step), float(seconds)


def time_to_control(curve: pd.DataFrame, final: Any) -> dict[str, float]:
    """Step and seconds at which a curve reached the final loss of its control, and how long before the control's end.

    final: the control's last report (step, eval_loss, train_seconds). NaN if the curve never reached it.
    """
    step, seconds = reach(curve, final[names.EVAL_LOSS])
    return {
        STEPS_TO_CONTROL: step,
        STEPS_SAVED: final[names.STEP] - step,
        SECONDS_TO_CONTROL: seconds,
        SECONDS_SAVED: final[names.TRAIN_SECONDS] - seconds,
    }
