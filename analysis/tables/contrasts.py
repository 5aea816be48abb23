"""Contrasts: every two arms of a group compared pair by pair, at the end of the run and at earlier points.

A group has one depth, one length and one validation set. Two trials make a pair if they share seed and fold and have a
loss at the same step. Means are taken over pairs, so units that only one of the arms has do not count. A trial that
diverged, or has not come to a step, has no pair there, and keeps its earlier pairs. In a search the winners are
compared, on the seeds of their confirmations.
"""

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import ARM, EVAL_ROWS, FOLD, FOLDS, LAYERS, REASON, ROLE, SEED, STATE, TRAIN_ROWS, TRIAL
from analysis.results import Results
from analysis.tables.answer import UNIT
from analysis.tables.arm_lines import ARM_INDEX, BUDGET, PANEL, is_search, named_trials, shown_trials
from analysis.tables.confirmations import confirmed
from analysis.tables.folds import unit_values
from analysis.tables.pairing import DIFFERENCE, beside_arm, loss_at
from analysis.tables.planned import lacking, planned_trials
from analysis.tables.statistics import TTest, equivalence, holm, nadeau_bengio, one_sided, spread
from trainable import names
from trainable.record.run_record import RunRecord

ALPHA: Final = 0.05  # arms are called equivalent where the p of `equivalence` is below
ON_THE_WAY: Final = (0.1, 0.25, 0.5)  # shares of the run's steps
END: Final = 1.0  # the last report
FIRST, SECOND, AT = "first", "second", "at"
SD, LOW, HIGH = "sd", "low", "high"
P, P_ONE_SIDED, P_HOLM, P_EQUIVALENT = "p", "p_one_sided", "p_holm", "p_equivalent"
EQUIVALENT, PAIRS, PLANNED, FOLD_COUNT, RATIO = "equivalent", "pairs", "planned", "folds", "test_over_train"
COLUMNS: Final = [
    *(*PANEL, FIRST, SECOND, AT, names.STEP, DIFFERENCE, SD, LOW, HIGH, P, P_ONE_SIDED, P_HOLM),
    *(P_EQUIVALENT, EQUIVALENT, PAIRS, PLANNED, FOLD_COUNT, RATIO),
]
_WHOLE: Final = [LAYERS, BUDGET, EVAL_ROWS, names.STEP, PAIRS, PLANNED, FOLD_COUNT]
NOT_BEGUN: Final = "planned, and not in the results"  # state of a trial that exists only in the plan
_NO_TEST: Final = TTest(math.nan, math.nan, 0, math.nan, math.nan, math.nan)


def contrasts(
    trials: pd.DataFrame, curves: pd.DataFrame, record: RunRecord | None = None, margin: float = names.MARGIN
) -> pd.DataFrame:
    """One row for each group, two arms and point of the run, with COLUMNS (see results/README.md).

    trials: those of `compared_trials`. record: run.json, which has the plan; None for kept tables without it.
    """
    points = _points(trials, curves)
    rows = []
    for panel, group in points.groupby(PANEL, dropna=False):
        for first, second in combinations(_in_order(group), 2):
            planned = _planned(group, (first, second), record)
            for at, here in group.groupby(AT):
                known = dict(zip([*PANEL, FIRST, SECOND, AT], (*panel, first, second, at), strict=True))
                rows.append(known | _row(here, first, second, margin) | {PLANNED: planned})
    table = pd.DataFrame(rows, columns=COLUMNS).astype({**dict.fromkeys(_WHOLE, "Int64"), EQUIVALENT: "boolean"})
    table[PLANNED] = table[[PAIRS, PLANNED]].max(axis=1)
    return table.assign(**{P_HOLM: holm(table[P].to_numpy(dtype=float))})


def compared_trials(results: Results, record: RunRecord | None = None) -> pd.DataFrame:
    """The trials to compare, with arm, its index and budget; for a comparison all trials, planned ones included.

    For a search in groups: its confirmations alone. For an older search: the winner of each depth and its controls, on
    the seeds of its confirmations; a depth without confirmations is left out.
    """
    results = confirmed(results, record)
    absent = {name: np.nan for name in (EVAL_ROWS, TRAIN_ROWS, FOLDS, *UNIT) if name not in results.trials}
    results = Results(results.trials.assign(**absent), results.curves)
    if is_search(results.trials):
        chosen = shown_trials(results)
        chosen = chosen[chosen[LAYERS].isin(chosen.loc[chosen[ROLE] == names.CONFIRM, LAYERS])]
    else:
        chosen = named_trials(_with_planned(results, record), record.arms if record else ())
    numbers = {name: chosen[name].astype("float64") for name in (EVAL_ROWS, TRAIN_ROWS, FOLDS, *UNIT)}
    chosen = chosen.assign(**numbers | {FOLD: numbers[FOLD].where(numbers[FOLDS].notna(), 0)}).fillna({SEED: 0})
    return chosen.sort_values(STATE, key=lambda state: state != names.FINISHED, kind="stable", ignore_index=True)


def unconfirmed_depths(results: Results, trials: pd.DataFrame) -> list[int]:
    """Depths of a search that are not in `trials` (the compared ones), because their winner has no confirmation."""
    return sorted(set(results.trials[LAYERS]) - set(trials[LAYERS])) if is_search(results.trials) else []


def _with_planned(results: Results, record: RunRecord | None) -> Results:
    """The tables with a row for each planned trial without a folder, so that its pair counts as missing."""
    plans = planned_trials(record) if record else pd.DataFrame({TRIAL: []})
    gone = lacking(plans, results.trials).dropna(axis=1, how="all")
    if gone.empty:
        return results
    gone = gone[[name for name in gone if name in results.trials]].assign(**{STATE: NOT_BEGUN, REASON: ""})
    return Results(pd.concat([results.trials, gone], ignore_index=True), results.curves)


def _points(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The trials at each point of the run, with at, step and eval_loss at that point (NaN if there is none)."""
    reports = dict(iter(curves.groupby(TRIAL)))
    parts = [_end(trials)]
    for share in ON_THE_WAY:
        steps = np.maximum((share * trials[BUDGET].astype(float)).round(), 1)
        losses = [
            loss_at(reports[trial], step) if trial in reports else np.nan
            for trial, step in zip(trials[TRIAL], steps, strict=True)
        ]
        parts.append(trials.assign(**{AT: share, names.STEP: steps, names.EVAL_LOSS: losses}))
    return pd.concat(parts, ignore_index=True)


def _end(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials at their last report; NaN for a trial that did not finish."""
    done = trials[STATE] == names.FINISHED
    ends = {name: trials[name].astype(float).where(done) for name in (names.STEP, names.EVAL_LOSS)}
    return trials.assign(**{AT: END, **ends})


def _in_order(group: pd.DataFrame) -> Iterator[str]:
    """The arms of a group: controls first, then as the study lists them."""
    arms = group.assign(_guided=group[ROLE] != names.CONTROL).drop_duplicates(ARM)
    yield from arms.sort_values(["_guided", ARM_INDEX, ARM])[ARM]


def _planned(group: pd.DataFrame, arms: tuple[str, str], record: RunRecord | None) -> int:
    """Number of planned pairs of two arms; without a plan, number of units of the group."""
    if record and record.confirm_seeds and not (record.is_comparison or record.is_grouped):
        return len(record.confirm_seeds)
    known = record is not None and (record.is_grouped or bool(record.plans))
    first, second = (_units(group[group[ARM] == arm] if known else group) for arm in arms)
    return len(first & second)


def _units(trials: pd.DataFrame) -> set[tuple[Any, ...]]:
    return set(trials[UNIT].itertuples(index=False, name=None))


def _row(here: pd.DataFrame, first: str, second: str, margin: float) -> dict[str, Any]:
    """Statistics of the pairs of two arms at one point of the run."""
    pairs = beside_arm(here, first, second, [*UNIT, names.STEP])
    values, ratio = unit_values(pairs, DIFFERENCE)
    test = nadeau_bengio(values, ratio) if len(values) else _NO_TEST
    if spread(values) == 0:
        test = test._replace(statistic=math.nan, p=math.nan)  # a t test is not defined for equal values
    p_equivalent = equivalence(values, margin, ratio) if len(values) else math.nan
    return {
        names.STEP: pairs[names.STEP].max() if len(pairs) else here[names.STEP].max(),
        DIFFERENCE: test.mean,
        SD: spread(values),
        LOW: test.low,
        HIGH: test.high,
        P: test.p,
        P_ONE_SIDED: one_sided(test),
        P_EQUIVALENT: p_equivalent,
        EQUIVALENT: p_equivalent < ALPHA if math.isfinite(p_equivalent) else pd.NA,
        PAIRS: len(pairs),
        FOLD_COUNT: pairs[FOLD].nunique() if len(values) > 1 and ratio > 0 else 0,
        RATIO: ratio,
    }
