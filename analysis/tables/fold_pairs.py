"""Pairs of a guided trial and its control in each fold, with the reason why a pair does not count."""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import (
    ARM,
    CONTROL_NAME,
    EVAL_ROWS,
    FOLD,
    FOLDS,
    LOOP_STEPS,
    MIN_WEIGHT,
    REASON,
    ROLE,
    SCHEDULE,
    SECONDS_SAVED,
    SECONDS_TO_CONTROL,
    SEED,
    STATE,
    STEPS_SAVED,
    STEPS_TO_CONTROL,
    TEACHER_ROWS,
    TEACHER_STEPS,
    TRAIN_ROWS,
    TRIAL,
)
from analysis.tables.pairing import OF_CONTROL, beside_controls
from trainable import names
from trainable.errors import InputError

CONTROL_LOSS: Final = "control_loss"
CONTROL_SE: Final = "control_se"  # over validation blocks
GUIDED_LOSS: Final = "guided_loss"
GUIDED_SE: Final = "guided_se"
CONTROL_STEPS: Final = "control_steps"  # number of steps that the control ran
CONTROL_SECONDS: Final = "control_seconds"
WHY: Final = "why"
_TEXT: Final = [TRIAL, ROLE, ARM, CONTROL_NAME, STATE, REASON, TEACHER_ROWS]
_NUMBERS: Final = [
    *(FOLDS, FOLD, TRAIN_ROWS, EVAL_ROWS, LOOP_STEPS, SEED, names.EVAL_LOSS, names.EVAL_LOSS_SE, names.STEP),
    *(names.TRAIN_SECONDS, STEPS_TO_CONTROL, STEPS_SAVED, SECONDS_TO_CONTROL, SECONDS_SAVED),
]
_FOLLOWS_STEPS: Final = {"optimizer.warmup_steps", "loop.eval_every", "loop.checkpoint_every"}
_CONTROLS: Final = {  # column of the control -> column of the pair
    names.EVAL_LOSS: CONTROL_LOSS,
    names.EVAL_LOSS_SE: CONTROL_SE,
    names.STEP: CONTROL_STEPS,
    names.TRAIN_SECONDS: CONTROL_SECONDS,
}


def pairs_of_folds(trials: pd.DataFrame) -> pd.DataFrame:
    """Every guided trial of a fold with its control, its arm (`_named`), and `why` it does not count, or ""."""
    trials = _of_folds(trials)
    guided = _named(trials[trials[ROLE] != names.CONTROL])
    both = pd.concat([guided, trials[trials[ROLE] == names.CONTROL]])
    pairs = beside_controls(both, [CONTROL_NAME], [TRIAL, STATE, FOLD, *_CONTROLS], keep_unpaired=True)
    pairs = pairs[pairs[ROLE] != names.CONTROL]
    pairs = pairs.rename(columns={name + OF_CONTROL: short for name, short in _CONTROLS.items()})
    pairs = pairs.rename(columns={names.EVAL_LOSS: GUIDED_LOSS, names.EVAL_LOSS_SE: GUIDED_SE})
    searched_only = bool((pairs[ROLE] == names.SEARCH).all())
    pairs[WHY] = [_why(row, searched_only) for row in pairs.to_dict("records")]
    return pairs.sort_values(FOLD, kind="stable", ignore_index=True)


def _of_folds(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of folds, with all columns that are read. Raises InputError without folds or guided trials."""
    absent = {name: "" for name in _TEXT if name not in trials} | {n: np.nan for n in _NUMBERS if n not in trials}
    trials = trials.assign(**absent)
    trials = trials[trials[FOLDS].notna() & trials[FOLD].notna()].astype(dict.fromkeys(_NUMBERS, "float64"))
    if trials.empty:
        raise InputError(f"these results have no folds ({FOLDS} is not set): give a run of sweeps/kfold.py.")
    if (trials[ROLE] == names.CONTROL).all():
        raise InputError("these results have no guided trial, only controls: let the run go on, or resume it.")
    return trials.astype({FOLDS: "int64", FOLD: "int64"})


def _why(pair: dict[Any, Any], searched_only: bool) -> str:
    """The reason why a pair does not count; "" if it counts."""
    control = pair[CONTROL_NAME]
    if not isinstance(pair[TRIAL + OF_CONTROL], str):
        return f"its control {control} is not in the results"
    if pair[STATE + OF_CONTROL] != names.FINISHED:
        return f"its control {control} is {pair[STATE + OF_CONTROL]}"
    if pair[FOLD + OF_CONTROL] != pair[FOLD]:
        return f"its control {control} is of fold {pair[FOLD + OF_CONTROL]:.0f}"
    if pair[STATE] != names.FINISHED:
        return f"{pair[STATE]} ({pair[REASON]})" if isinstance(pair[REASON], str) and pair[REASON] else pair[STATE]
    if not math.isfinite(pair[names.GAIN]):
        return "it or its control has no finite loss"
    if pair[names.STEP] != pair[CONTROL_STEPS]:
        return f"it ended at step {pair[names.STEP]:.0f}, its control at step {pair[CONTROL_STEPS]:.0f}"
    if pair[ROLE] == names.SEARCH and not searched_only:
        return "the search chose by this trial, so its gain flatters"
    return ""


def _named(guided: pd.DataFrame) -> pd.DataFrame:
    """The trials with an arm each; its name has the settings that differ in a fold, as these are no repetitions."""
    guided = guided.assign(**{ARM: [_arm(row) for row in guided.to_dict("records")]})
    told = {arm: _varied(group) for arm, group in guided.groupby(ARM)}
    full = [", ".join([row[ARM], *_settings(row, told[row[ARM]])]) for row in guided.to_dict("records")]
    return guided.assign(**{ARM: full})


def _arm(trial: dict[Any, Any]) -> str:
    """Name of a trial's arm, such as "linear 240"; made from its settings where it has none."""
    if isinstance(trial[ARM], str) and trial[ARM]:
        return trial[ARM]
    named = [str(trial.get(SCHEDULE, "guided"))]
    if TEACHER_STEPS in trial:
        named.append(f"{trial[TEACHER_STEPS]:g}")
    return " ".join([*named, *([f"min weight {trial[MIN_WEIGHT]:g}"] if trial.get(MIN_WEIGHT, 0) > 0 else [])])


def _varied(arm: pd.DataFrame) -> list[str]:
    """Dotted keys in which trials of the same fold differ, without those that follow from the number of steps."""
    keys = [name for name in map(str, arm.columns) if "." in name and name != FOLD]
    varied = [key for key in keys if (arm.groupby(FOLD)[key].nunique(dropna=False) > 1).any()]
    return [key for key in varied if not (LOOP_STEPS in varied and key in _FOLLOWS_STEPS)]


def _settings(trial: dict[Any, Any], keys: list[str]) -> Iterator[str]:
    for key in keys:
        value = trial[key]
        yield f"{key} {value:g}" if isinstance(value, int | float) else f"{key} {value}"
