"""What each arm of a comparison is worth: its gain over the control in the same units, with an interval.

Units are seeds (Student's interval of the mean) or folds (Nadeau and Bengio's, for folds share their training data).
Where a setting was tuned in every arm, each arm takes the value with its lowest mean validation loss, the control too;
that choice is made on the same units, which flatters every arm a little, and all of them alike.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import (
    ARM,
    EVAL_ROWS,
    FOLD,
    FOLDS,
    LAYERS,
    LOOP_STEPS,
    ROLE,
    SECONDS_SAVED,
    SEED,
    STATE,
    STEPS_SAVED,
    TRIAL,
)
from analysis.results import Results
from analysis.tables.folds import fold_ratio
from analysis.tables.pairing import AGAINST_CONTROL, OF_CONTROL, beside_controls, time_to_control
from analysis.tables.statistics import nadeau_bengio, student_interval
from trainable import names

GROUP: Final = [LAYERS, LOOP_STEPS, EVAL_ROWS]  # arms are compared within these
UNIT: Final = [SEED, FOLD]
N: Final = "n"
SD: Final = "gain_sd"
LOW: Final = "gain_low"
HIGH: Final = "gain_high"
LOSS_SD: Final = "eval_loss_sd"


def compare_arms(results: Results, arms: Sequence[str], tuned: str | None = None) -> pd.DataFrame:
    """One row an arm and group (depth, budget, validation rows), in the order of `arms`.

    Columns: model.layers, loop.steps, corpus.eval_rows, arm, role, the tuned setting (if any), n (units), eval_loss and
    eval_loss_sd (over units), gain, gain_sd, gain_low, gain_high (95 % interval of the mean; NaN for fewer than 2
    units), steps_saved and seconds_saved (of training; means over units, NaN unless every unit reached its control's
    loss). Losses in nats per token.
    """
    paired = pair(results, tuned)
    groups = paired.groupby([*GROUP, ARM], sort=False, dropna=False)
    rows = [dict(zip([*GROUP, ARM], map(_plain, key), strict=True)) | _row(part, tuned) for key, part in groups]
    rows.sort(key=lambda row: arms.index(row[ARM]))
    return pd.DataFrame(rows).sort_values(GROUP, kind="stable", ignore_index=True) if rows else pd.DataFrame()


def pair(results: Results, tuned: str | None = None) -> pd.DataFrame:
    """Finished trials with their gain over the control of the same group and unit, and the steps and seconds saved."""
    trials = results.trials
    done = trials[(trials[STATE] == names.FINISHED) & np.isfinite(trials[names.EVAL_LOSS])].copy()
    done[FOLD] = done[FOLD].where(done[FOLDS].notna(), 0)
    if tuned is not None:
        done = pd.concat(list(_best_values(done, tuned)) or [done]).sort_index()
    last = [names.EVAL_LOSS, names.STEP, names.TRAIN_SECONDS]
    paired = beside_controls(done, [*GROUP, *UNIT], last)
    curves = dict(iter(results.curves.groupby(TRIAL)))
    finals = paired[[name + OF_CONTROL for name in last]].set_axis(last, axis="columns").to_dict("records")
    reached = [time_to_control(curves[trial], final) for trial, final in zip(paired[TRIAL], finals, strict=True)]
    return paired.assign(**pd.DataFrame(reached, index=paired.index, columns=AGAINST_CONTROL))


def _best_values(trials: pd.DataFrame, tuned: str) -> Iterator[pd.DataFrame]:
    """The trials of each group and arm at the value of `tuned` that has the lowest mean loss over all units."""
    for _, arm in trials.groupby([*GROUP, ARM], sort=False, dropna=False):
        values = arm.groupby(tuned)[names.EVAL_LOSS].agg(["mean", "size"])
        complete = values[values["size"] == values["size"].max()]
        yield arm[arm[tuned] == complete["mean"].idxmin()]


def _row(part: pd.DataFrame, tuned: str | None) -> dict[str, Any]:
    gains = part[names.GAIN].to_numpy(dtype=float)
    low, high = _interval(part, gains)
    return {
        ROLE: part[ROLE].iloc[0],
        **({tuned: part[tuned].iloc[0]} if tuned else {}),
        N: len(part),
        names.EVAL_LOSS: part[names.EVAL_LOSS].mean(),
        LOSS_SD: part[names.EVAL_LOSS].std(ddof=1),
        names.GAIN: gains.mean(),
        SD: float(np.std(gains, ddof=1)) if len(gains) > 1 else np.nan,
        LOW: low,
        HIGH: high,
        STEPS_SAVED: part[STEPS_SAVED].mean(skipna=False),
        SECONDS_SAVED: part[SECONDS_SAVED].mean(skipna=False),
    }


def _interval(part: pd.DataFrame, gains: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean gain: over folds, seeds averaged within each, or over seeds."""
    by_fold = part.groupby(FOLD)[names.GAIN].mean()
    if len(by_fold) < 2:
        return student_interval(gains)
    corrected = nadeau_bengio(by_fold.to_numpy(dtype=float), fold_ratio(part)[0])
    return corrected.low, corrected.high


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
