"""The two tables of a published study: each run beside its control, with its gain."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import (
    CURVE_GROUPS,
    EVAL_ROWS,
    FOLD,
    FOLDS,
    LAYERS,
    LOOP_STEPS,
    MIN_WEIGHT,
    SCHEDULE,
    SECONDS_SAVED,
    SECONDS_TO_CONTROL,
    SEED,
    STEPS_SAVED,
    STEPS_TO_CONTROL,
    TEACHER_STEPS,
    TRIAL,
    WHO,
)
from analysis.published.event_files import Run, read_run
from analysis.published.folder_names import UNKNOWN
from analysis.results import Results, reach
from trainable import names
from trainable.errors import InputError

STUDIES: Final = {
    "llama2-bigram-guided-k-fold": "k_fold",
    "llama2-tiny-bigram-guided": "schedules",
    "llama2-tiny-bigram-guided-large-validation-set": "validation_size",
}
TAU: Final = "teacher.tau"
WALL_SECONDS: Final = "wall_seconds"  # of the whole run, evaluations included, as the run itself logged it
PUBLISHED_TAU: Final = {"exponential": 1.0, "reciprocal": 1.0}  # exp(-t) and 1/t, in steps, whatever T is
PUBLISHED_FOLDS: Final = 5
SETTINGS: Final = [LAYERS, SCHEDULE, TEACHER_STEPS, MIN_WEIGHT, TAU, FOLDS, FOLD, EVAL_ROWS, SEED, LOOP_STEPS]
LAST: Final = [names.STEP, names.EVAL_LOSS, names.GAIN, names.TRAIN_SECONDS, names.EVAL_SECONDS]
AGAINST_CONTROL: Final = [STEPS_TO_CONTROL, STEPS_SAVED, SECONDS_TO_CONTROL, SECONDS_SAVED]
TRIAL_COLUMNS: Final = [*WHO, *SETTINGS, *LAST, WALL_SECONDS, *AGAINST_CONTROL]
REPORT: Final = [names.STEP, names.EVAL_LOSS, names.GAIN, names.TRAIN_LOSS, names.TRAIN_SECONDS, names.EVAL_SECONDS]
CURVE_COLUMNS: Final = [*CURVE_GROUPS, *REPORT]
WHOLE: Final = [LAYERS, TEACHER_STEPS, FOLDS, FOLD, EVAL_ROWS, SEED, LOOP_STEPS, names.STEP]


def read_study(folder: Path) -> Results:
    """The two tables of one study: a folder that has `runs/`. Raises InputError if it has none."""
    if not (folder / "runs").is_dir():
        raise InputError(f"{folder} has no runs/ with a folder of TensorBoard files a run: give a study's folder.")
    runs = [read_run(path) for path in sorted((folder / "runs").iterdir()) if path.is_dir()]
    controls = {run.name: _control_of(run, runs) for run in runs}
    curves = {run.name: _with_gain(run, controls[run.name]) for run in runs}
    rows = [_trial_row(run, controls[run.name], curves[run.name]) for run in runs]
    trials = pd.DataFrame(rows, columns=TRIAL_COLUMNS).astype(dict.fromkeys((*WHO, SCHEDULE), "str"))
    reports = [curve.assign(**{TRIAL: name}) for name, curve in curves.items() if not curve.empty]
    joined = pd.concat(reports or [pd.DataFrame(columns=[TRIAL], dtype="str")], ignore_index=True)
    return Results(trials, trials[CURVE_GROUPS].merge(joined, on=TRIAL).reindex(columns=CURVE_COLUMNS))


def _control_of(run: Run, runs: list[Run]) -> Run | None:
    """The run without a teacher of the same depth, fold and validation rows in the same study; None if there is none.

    A finished one if there is one, and the first of those. A control's own control is itself.
    """
    if run.setting.schedule == "none":
        return run
    same = [other for other in runs if other.setting.schedule == "none" and _pair(other) == _pair(run)]
    usable = [other for other in same if other.state != names.FAILED]
    return min(usable, key=lambda other: (other.state != names.FINISHED, other.name), default=None)


def _pair(run: Run) -> tuple[int | None, int | None, int | None]:
    return run.setting.layers, run.setting.fold, run.setting.eval_rows


def _with_gain(run: Run, control: Run | None) -> pd.DataFrame:
    """The reports of a run with its gain: the control's eval_loss - its own at the same step."""
    losses = run.reports.set_index(names.STEP)[names.EVAL_LOSS]
    other = losses * np.nan if control is None else control.reports.set_index(names.STEP)[names.EVAL_LOSS]
    gains = (other.reindex(losses.index) - losses).round(6)
    return run.reports.assign(**{names.GAIN: gains.to_numpy()})[REPORT]


def _trial_row(run: Run, control: Run | None, curve: pd.DataFrame) -> dict[str, Any]:
    setting = run.setting
    evaluated = curve[np.isfinite(curve[names.EVAL_LOSS])]
    role = names.CONTROL if setting.schedule == "none" else names.ARM
    unpaired = "" if control else "no control of its depth, fold and validation rows: it has no gain"
    reason = "; ".join(filter(None, (*run.problems, unpaired)))
    who = [run.name, role, setting.arm, control.name if control else "", run.state, reason]
    settings = {
        LAYERS: _or_nan(setting.layers),
        SCHEDULE: setting.schedule or UNKNOWN,
        TEACHER_STEPS: _or_nan(setting.steps),
        MIN_WEIGHT: _or_nan(setting.min_weight),
        TAU: PUBLISHED_TAU.get(setting.schedule or "", np.nan),
        FOLDS: np.nan if setting.fold is None else PUBLISHED_FOLDS,
        FOLD: _or_nan(setting.fold),
        EVAL_ROWS: _or_nan(setting.eval_rows),
        SEED: np.nan,
        LOOP_STEPS: run.loop_steps,
    }
    last = {names.STEP: 0} if evaluated.empty else {name: evaluated[name].iloc[-1] for name in LAST}
    row = dict(zip(WHO, who, strict=True)) | settings | last | {WALL_SECONDS: run.wall_seconds}
    return row | _against(evaluated, control)


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _against(curve: pd.DataFrame, control: Run | None) -> dict[str, float]:
    """When a trial reached the loss its control ended with; nothing against a control that did not finish."""
    if control is None or control.state != names.FINISHED:
        return {}
    final = control.evaluations.iloc[-1]
    step, seconds = reach(curve, final[names.EVAL_LOSS])
    saved = (final[names.STEP] - step, final[names.TRAIN_SECONDS] - seconds)
    values = (step, saved[0], seconds, saved[1])
    return {name: round(float(value), 3) for name, value in zip(AGAINST_CONTROL, values, strict=True)}


def read(folder: Path) -> dict[str, Results]:
    """Every study in a folder (or the one that the folder is), by short name. Raises InputError if there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the one that holds the studies' folders.")
    studies = sorted(path.parent for path in (*folder.glob("runs"), *folder.glob("*/runs")) if path.is_dir())
    if not studies:
        raise InputError(f"{folder} holds no study, for no folder in it has runs/: give the published runs' folder.")
    return {STUDIES.get(path.resolve().name, path.resolve().name): read_study(path) for path in studies}
