"""Guided trials compared with plain ones, fold by fold: a table of pairs, and their statistics.

One split can favour an arm by chance; k folds show how much the gain changes with the data. The folds are the units:
the seeds of a fold are averaged first, because more seeds do not make more data.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.columns import (
    ARM,
    EVAL_ROWS,
    FOLD,
    FOLDS,
    LOOP_STEPS,
    ROLE,
    SECONDS_SAVED,
    SECONDS_TO_CONTROL,
    STEPS_SAVED,
    STEPS_TO_CONTROL,
    TEACHER_ROWS,
    TRAIN_ROWS,
    TRIAL,
)
from analysis.tables.fold_pairs import (
    CONTROL_LOSS,
    CONTROL_SE,
    CONTROL_SECONDS,
    CONTROL_STEPS,
    GUIDED_LOSS,
    GUIDED_SE,
    WHY,
    pairs_of_folds,
)
from analysis.tables.statistics import SignedRank, TTest, nadeau_bengio, paired_t, wilcoxon
from trainable import names
from trainable.errors import InputError

# Columns of `kfold_rows`; losses and their standard errors in nats per token.
SEEDS: Final = "seeds"  # pairs averaged in the fold
GAIN_SE: Final = "gain_se"  # over the seeds of the fold
_MEANS: Final = [
    *(CONTROL_LOSS, CONTROL_SE, GUIDED_LOSS, GUIDED_SE, names.GAIN),
    *(STEPS_TO_CONTROL, STEPS_SAVED, CONTROL_STEPS, SECONDS_TO_CONTROL, SECONDS_SAVED, CONTROL_SECONDS),
    *(FOLDS, TRAIN_ROWS, EVAL_ROWS, LOOP_STEPS),
]
_GONE: Final = "planned, and not in the results"
ROW_COLUMNS: Final = [ARM, FOLD, SEEDS, *_MEANS[:5], GAIN_SE, *_MEANS[5:], TEACHER_ROWS]


@dataclass(frozen=True, kw_only=True)
class KfoldStatistics:
    """Statistics of one arm over folds. Means over folds are NaN unless every fold has a value."""

    arm: str
    folds: int  # number of complete folds, k
    planned: int  # corpus.folds
    gain_mean: float  # nats per token
    gain_sd: float  # over folds
    test_over_train: float  # n_test / n_train of a fold
    rows_known: bool  # whether the ratio comes from row counts; otherwise it is 1/(planned - 1)
    corrected: TTest  # Nadeau and Bengio's
    paired: TTest
    signed_rank: SignedRank
    reached: int  # number of folds in which every seed reached the control's final loss
    steps_to_control: float  # mean over folds, as all fields below but the deviations
    steps_saved: float
    steps_saved_sd: float
    control_steps: float
    seconds_to_control: float
    seconds_saved: float
    seconds_saved_sd: float
    control_seconds: float


def kfold_rows(trials: pd.DataFrame) -> pd.DataFrame:
    """One row an arm and fold, seeds averaged: ROW_COLUMNS. Only finished trials beside a finished control count.

    `left_out` has the others. Raises InputError if no trial counts.
    """
    pairs = pairs_of_folds(trials)
    kept = pairs[pairs[WHY] == ""]
    if kept.empty:
        first = pairs.iloc[0]
        raise InputError(
            f"no fold has a finished guided trial beside a finished control (trial {first[TRIAL]}: {first[WHY]}): "
            "let the run finish, or resume it."
        )
    groups = kept.groupby([ARM, FOLD], sort=False)
    rows = [{ARM: arm, FOLD: int(fold), **_fold_row(group)} for (arm, fold), group in groups]
    order = {arm: number for number, arm in enumerate(pairs[ARM].unique())}
    table = pd.DataFrame(rows, columns=ROW_COLUMNS)
    return table.sort_values([ARM, FOLD], key=lambda c: c.map(order) if c.name == ARM else c, ignore_index=True)


def left_out(trials: pd.DataFrame, plans: pd.DataFrame | None = None) -> pd.DataFrame:
    """Trials that `kfold_rows` does not count: arm, corpus.fold, trial ("" where a fold has no trial), why.

    plans: the planned trials (`analysis.tables.planned`); without them, every fold should have a trial of each arm.
    """
    pairs = pairs_of_folds(trials)
    problems = pairs.loc[pairs[WHY] != "", [ARM, FOLD, TRIAL, WHY]]
    if plans is not None and len(plans):
        gone = plans[(plans[ROLE] != names.CONTROL) & ~plans[TRIAL].isin(trials[TRIAL])]
        return pd.concat([problems, gone[[ARM, FOLD, TRIAL]].assign(**{WHY: _GONE})], ignore_index=True)
    missing = [
        {ARM: arm, FOLD: fold, TRIAL: "", WHY: "no trial of this arm"}
        for arm, group in pairs.groupby(ARM, sort=False)
        for fold in sorted(set(range(_planned(group))) - set(group[FOLD]))
    ]
    return pd.concat([problems, pd.DataFrame(missing, columns=problems.columns)], ignore_index=True)


def kfold_statistics(rows: pd.DataFrame) -> list[KfoldStatistics]:
    """Statistics of each arm in the rows of `kfold_rows`, in the order of the rows."""
    return [_statistics(str(arm), group) for arm, group in rows.groupby(ARM, sort=False)]


def _fold_row(pairs: pd.DataFrame) -> dict[str, Any]:
    means: dict[str, Any] = pairs[_MEANS].mean(skipna=False).to_dict()
    error = pairs[names.GAIN].std(ddof=1) / math.sqrt(len(pairs))
    counted = tuple(sorted(set(map(str, pairs[TEACHER_ROWS]))))
    return means | {SEEDS: len(pairs), GAIN_SE: error, TEACHER_ROWS: counted}


def _statistics(arm: str, rows: pd.DataFrame) -> KfoldStatistics:
    gains = rows[names.GAIN].to_numpy(dtype=float)
    means = rows[_MEANS].mean(skipna=False)
    ratio, rows_known = fold_ratio(rows)
    return KfoldStatistics(
        arm=arm,
        folds=len(rows),
        planned=_planned(rows),
        gain_mean=float(gains.mean()),
        gain_sd=deviation(rows[names.GAIN]),
        test_over_train=ratio,
        rows_known=rows_known,
        corrected=nadeau_bengio(gains, ratio),
        paired=paired_t(gains),
        signed_rank=wilcoxon(gains),
        reached=int(rows[STEPS_TO_CONTROL].notna().sum()),
        steps_to_control=means[STEPS_TO_CONTROL],
        steps_saved=means[STEPS_SAVED],
        steps_saved_sd=deviation(rows[STEPS_SAVED]),
        control_steps=means[CONTROL_STEPS],
        seconds_to_control=means[SECONDS_TO_CONTROL],
        seconds_saved=means[SECONDS_SAVED],
        seconds_saved_sd=deviation(rows[SECONDS_SAVED]),
        control_seconds=means[CONTROL_SECONDS],
    )


def fold_ratio(rows: pd.DataFrame) -> tuple[float, bool]:
    """n_test / n_train of a fold, and whether it comes from row counts; else 1/(k - 1), as if all rows were used."""
    ratio = float((rows[EVAL_ROWS] / rows[TRAIN_ROWS]).max(skipna=False))
    return (ratio, True) if math.isfinite(ratio) else (1 / (_planned(rows) - 1), False)


def unit_values(pairs: pd.DataFrame, column: str) -> tuple[NDArray[np.float64], float]:
    """The values whose mean is tested, and n_test / n_train for `nadeau_bengio`.

    With two folds or more: one value a fold, the mean of its seeds. Otherwise: one value a pair, independent (ratio 0).
    """
    by_fold = pairs.groupby(FOLD)[column].mean()
    if len(by_fold) < 2:
        return pairs[column].to_numpy(dtype=float), 0.0
    return by_fold.to_numpy(dtype=float), fold_ratio(pairs)[0]


def deviation(values: pd.Series) -> float:
    return float(values.std(ddof=1, skipna=False))


def _planned(rows: pd.DataFrame) -> int:
    return int(rows[FOLDS].max())
