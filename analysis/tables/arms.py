"""The gain of each arm of a comparison over the control in the same units, with an interval.

Units are seeds (Student's interval of the mean) or folds (Nadeau and Bengio's, for folds share their training data).
The means of an arm and of its control are over the same units; where arms have different units, the control has a row
for each set of units. Where a setting was tuned in every arm, each arm and the control take the value with their lowest
mean validation loss. This choice uses the same units, which flatters all arms alike, and a little.
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
    STATE,
    TRIAL,
)
from analysis.results import Results
from analysis.tables.answer import UNIT, answer_of
from analysis.tables.folds import unit_values
from analysis.tables.pairing import AGAINST_CONTROL, OF_CONTROL, beside_controls, time_to_control
from analysis.tables.statistics import nadeau_bengio
from analysis.wording import setting_words
from trainable import names

GROUP: Final = [LAYERS, LOOP_STEPS, EVAL_ROWS]  # arms are compared within these
N: Final = "n"
PLANNED: Final = "planned"  # number of units in the plan; without a plan, of units in the group
FOLD_COUNT: Final = "folds"  # number of distinct folds among the units
SD: Final = "gain_sd"
LOW: Final = "gain_low"
HIGH: Final = "gain_high"
LOSS_SD: Final = "eval_loss_sd"


def compare_arms(
    results: Results, arms: Sequence[str], tuned: str | None = None, plans: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row for each arm and group (depth, budget, validation rows) in the order of `arms`, controls first.

    plans: the planned trials (`analysis.tables.planned`). Columns: model.layers, loop.steps, corpus.eval_rows, arm,
    role, the tuned setting (if any), n (units), planned (units), folds (among the units), eval_loss and eval_loss_sd
    (over units), gain, gain_sd, gain_low, gain_high (95 % interval of the mean; NaN for fewer than 2 units),
    steps_to_control, seconds_to_control, steps_saved and seconds_saved (of training; means over units, NaN unless every
    unit reached its control's loss), and those of `analysis.tables.answer`. Losses in nats per token.
    """
    if apart := settings_apart(results.trials, plans):
        results = Results(name_settings(results.trials, apart), results.curves)
        plans = None if plans is None or plans.empty else name_settings(plans, apart)
    units = _planned_units(results.trials, plans)
    paired = pair(results, tuned)
    if paired.empty:
        return pd.DataFrame()
    curves = dict(iter(results.curves.groupby(TRIAL)))
    rows = []
    for key, group in paired.groupby(GROUP, sort=False, dropna=False):
        for part in _over_the_same_units(group, arms):
            known = dict(zip([*GROUP, ARM], (*map(_plain, key), part[ARM].iloc[0]), strict=True))
            planned = max(len(part), units.get((*_key(key), known[ARM]), units.get((*_key(key), ""), 0)))
            rows.append(known | {PLANNED: planned} | _row(part, tuned) | answer_of(part, group, curves))
    return pd.DataFrame(rows).sort_values(GROUP, kind="stable", ignore_index=True)


def settings_apart(trials: pd.DataFrame, plans: pd.DataFrame | None = None) -> list[str]:
    """Settings (dotted keys) that differ between trials of one arm on one unit, in a run without a guided arm.

    Such trials are settings beside each other, not units of one arm. No keys for a run with a guided arm.
    """
    known = trials if plans is None or plans.empty else plans
    same = [*GROUP, ARM, *UNIT]
    is_guided = (trials[ROLE] != names.CONTROL).any() or (known[ROLE] != names.CONTROL).any()
    if is_guided or not {*same} <= {*known} or not known.duplicated(same).any():
        return []
    arms = known.groupby([*GROUP, ARM], dropna=False)
    settings = [name for name in known if "." in name and name not in same]
    return [name for name in settings if (arms[name].nunique(dropna=False) > 1).any()]


def name_settings(trials: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Trials whose arm is named with its values of some settings: "none, lr 0.002, beta2 0.95"."""
    arms = [f"{row[ARM]}, {setting_words(row, keys)}" for row in trials.to_dict("records")]
    return trials.assign(**{ARM: arms})


def _over_the_same_units(group: pd.DataFrame, arms: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield parts of a group: the control over the units of some arms, then each of these arms."""
    controls = group[group[ROLE] == names.CONTROL]
    blocks: dict[frozenset[Any], list[pd.DataFrame]] = {}  # units -> the arms that have exactly these
    guided = group[group[ROLE] != names.CONTROL]
    for arm in sorted(guided[ARM].unique(), key=arms.index):
        part = guided[guided[ARM] == arm]
        blocks.setdefault(frozenset(_units(part)), []).append(part)
    if not blocks:
        yield from (part for _, part in controls.groupby(ARM, sort=False))
    for units, parts in blocks.items():
        yield controls[[unit in units for unit in _units(controls)]]
        yield from parts


def _units(trials: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(trials[UNIT].itertuples(index=False, name=None))


def _planned_units(trials: pd.DataFrame, plans: pd.DataFrame | None) -> dict[tuple[Any, ...], int]:
    """{(*group, arm): number of planned units}; without a plan {(*group, ""): number of units of the group}."""
    table = trials.assign(**{ARM: ""}) if plans is None or plans.empty else plans
    table = table.assign(**{FOLD: table[FOLD].where(table[FOLDS].notna(), 0)})
    groups = table.groupby([*GROUP, ARM], dropna=False)
    return {(*_key(key[:-1]), key[-1]): len(set(_units(part))) for key, part in groups}


def _key(values: Sequence[Any]) -> tuple[Any, ...]:
    """Values of GROUP as a key, with None for missing values, because NaN does not equal NaN."""
    return tuple(None if pd.isna(value) else float(value) for value in values)


def pair(results: Results, tuned: str | None = None) -> pd.DataFrame:
    """Finished trials with their gain over the control of the same group and unit, and with steps and seconds saved."""
    trials = results.trials
    done = trials[(trials[STATE] == names.FINISHED) & np.isfinite(trials[names.EVAL_LOSS])].copy()
    done[FOLD] = done[FOLD].where(done[FOLDS].notna(), 0)
    if tuned is not None:
        done = pd.concat(list(_best_values(done, tuned)) or [done]).sort_index()
    last = [names.EVAL_LOSS, names.STEP, names.TRAIN_SECONDS]
    paired = beside_controls(done, [*GROUP, *UNIT, *([] if (done[ROLE] != names.CONTROL).any() else [ARM])], last)
    curves = dict(iter(results.curves.groupby(TRIAL)))
    finals = paired[[name + OF_CONTROL for name in last]].set_axis(last, axis="columns").to_dict("records")
    reached = [time_to_control(curves[trial], final) for trial, final in zip(paired[TRIAL], finals, strict=True)]
    return paired.assign(**pd.DataFrame(reached, index=paired.index, columns=AGAINST_CONTROL))


def _best_values(trials: pd.DataFrame, tuned: str) -> Iterator[pd.DataFrame]:
    """Yield the trials of each group and arm at the value of `tuned` with the lowest mean loss.

    Only values with the most units are candidates; means are over the units that all candidates have.
    """
    for _, arm in trials.groupby([*GROUP, ARM], sort=False, dropna=False):
        sizes = arm.groupby(tuned).size()
        fullest = arm[arm[tuned].isin(sizes[sizes == sizes.max()].index)]
        shared = fullest.groupby(UNIT)[tuned].transform("nunique") == fullest[tuned].nunique()
        means = (fullest[shared] if shared.any() else fullest).groupby(tuned)[names.EVAL_LOSS].mean()
        yield arm[arm[tuned] == means.idxmin()]


def _row(part: pd.DataFrame, tuned: str | None) -> dict[str, Any]:
    gains = part[names.GAIN].to_numpy(dtype=float)
    test = nadeau_bengio(*unit_values(part, names.GAIN))
    return {
        ROLE: part[ROLE].iloc[0],
        **({tuned: part[tuned].iloc[0]} if tuned else {}),
        N: len(part),
        FOLD_COUNT: part[FOLD].nunique(),
        names.EVAL_LOSS: part[names.EVAL_LOSS].mean(),
        LOSS_SD: part[names.EVAL_LOSS].std(ddof=1),
        names.GAIN: gains.mean(),
        SD: float(np.std(gains, ddof=1)) if len(gains) > 1 else np.nan,
        LOW: test.low,
        HIGH: test.high,
        **{name: part[name].mean(skipna=False) for name in AGAINST_CONTROL},
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
