"""The two tables of a published study: each run with its control and its gain."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import (
    CONTROL_NAME,
    CURVE_GROUPS,
    EVAL_ROWS,
    FOLD,
    FOLDS,
    LAYERS,
    LOOP_STEPS,
    MIN_WEIGHT,
    ROLE,
    SCHEDULE,
    SEED,
    TEACHER_STEPS,
    TRIAL,
    WHO,
)
from analysis.published.event_files import PublishedRun, read_published_run
from analysis.published.folder_names import UNKNOWN
from analysis.results import Results
from analysis.tables.pairing import AGAINST_CONTROL, beside_controls, time_to_control
from trainable import names
from trainable.errors import InputError

STUDIES: Final = {
    "llama2-bigram-guided-k-fold": "k_fold",
    "llama2-tiny-bigram-guided": "schedules",
    "llama2-tiny-bigram-guided-large-validation-set": "validation_size",
}
TAU: Final = "teacher.tau"
WALL_SECONDS: Final = "wall_seconds"  # duration of the whole run with its evaluations, as the run logged it
PUBLISHED_TAU: Final = {"exponential": 1.0, "reciprocal": 1.0}  # exp(-t) and 1/t with t in steps, independent of T
PUBLISHED_FOLDS: Final = 5
SETTINGS: Final = [LAYERS, SCHEDULE, TEACHER_STEPS, MIN_WEIGHT, TAU, FOLDS, FOLD, EVAL_ROWS, SEED, LOOP_STEPS]
LAST: Final = [names.STEP, names.EVAL_LOSS, names.GAIN, names.TRAIN_SECONDS, names.EVAL_SECONDS]
TRIAL_COLUMNS: Final = [*WHO, *SETTINGS, *LAST, WALL_SECONDS, *AGAINST_CONTROL]
REPORT: Final = [names.STEP, names.EVAL_LOSS, names.GAIN, names.TRAIN_LOSS, names.TRAIN_SECONDS, names.EVAL_SECONDS]
CURVE_COLUMNS: Final = [*CURVE_GROUPS, *REPORT]
WHOLE: Final = [LAYERS, TEACHER_STEPS, FOLDS, FOLD, EVAL_ROWS, SEED, LOOP_STEPS, names.STEP]


def read_study(folder: Path) -> Results:
    """Read the two tables of one study from its folder. Raises InputError for a folder without `runs/`."""
    if not (folder / "runs").is_dir():
        raise InputError(
            f"{folder} has no runs/ with a folder of TensorBoard files for each run: give the folder of a study."
        )
    runs = [read_published_run(path) for path in sorted((folder / "runs").iterdir()) if path.is_dir()]
    controls = {run.name: _control_of(run, runs) for run in runs}
    curves = _with_gain(runs, controls)
    rows = [
        _trial_row(run, controls[run.name], _unpaired(run, runs), curves[curves[TRIAL] == run.name]) for run in runs
    ]
    trials = pd.DataFrame(rows, columns=TRIAL_COLUMNS).astype(dict.fromkeys((*WHO, SCHEDULE), "str"))
    reports = curves[[TRIAL, *REPORT]]
    return Results(trials, trials[CURVE_GROUPS].merge(reports, on=TRIAL).reindex(columns=CURVE_COLUMNS))


def _control_of(run: PublishedRun, runs: list[PublishedRun]) -> PublishedRun | None:
    """The control of a run: same study, depth, fold and validation rows, no teacher; None if there is none.

    The first finished one is taken, else the first. The control of a control is the control itself.
    """
    if run.role == names.CONTROL:
        return run
    same = [other for other in runs if other.role == names.CONTROL and _pair(other) == _pair(run)]
    usable = [other for other in same if other.state != names.FAILED]
    return min(usable, key=lambda other: (other.state != names.FINISHED, other.name), default=None)


def _pair(run: PublishedRun) -> tuple[int | None, int | None, int | None]:
    return run.setting.layers, run.setting.fold, run.setting.eval_rows


def _with_gain(runs: list[PublishedRun], controls: dict[str, PublishedRun | None]) -> pd.DataFrame:
    """The reports of all runs with their gain: the control's eval_loss - the run's own at the same step."""
    empty = pd.DataFrame(columns=[TRIAL, ROLE, CONTROL_NAME], dtype="str").assign(**dict.fromkeys(REPORT, np.nan))
    labelled = [
        run.reports.assign(**{TRIAL: run.name, ROLE: run.role, CONTROL_NAME: control.name if control else ""})
        for run in runs
        if not run.reports.empty
        for control in [controls[run.name]]
    ]
    joined = pd.concat(labelled or [empty], ignore_index=True)
    paired = beside_controls(joined, [CONTROL_NAME, names.STEP], keep_unpaired=True)
    diverged = paired[TRIAL].isin([run.name for run in runs if np.isfinite(run.diverged_at)])
    return paired.assign(**{names.GAIN: paired[names.GAIN].round(6).where(~diverged)})


def _unpaired(run: PublishedRun, runs: list[PublishedRun]) -> str:
    """The reason why a run without a control has no gain."""
    failed = [other.name for other in runs if other.role == names.CONTROL and _pair(other) == _pair(run)]
    if failed:
        return f"its control {failed[0]} failed: it has no gain"
    return "no control of its depth, fold and validation rows: it has no gain"


def _trial_row(
    run: PublishedRun, control: PublishedRun | None, without_control: str, curve: pd.DataFrame
) -> dict[str, Any]:
    setting = run.setting
    evaluated = curve[np.isfinite(curve[names.EVAL_LOSS])]
    unpaired = "" if control else without_control
    reason = "; ".join(filter(None, (*run.problems, unpaired)))
    who = [run.name, run.role, setting.arm, control.name if control else "", run.state, reason]
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
    if np.isfinite(run.diverged_at):  # its last finite loss is not its final loss
        last = {names.STEP: run.diverged_at}
    else:
        last = {names.STEP: 0} if evaluated.empty else {name: evaluated[name].iloc[-1] for name in LAST}
    row = dict(zip(WHO, who, strict=True)) | settings | last | {WALL_SECONDS: run.wall_seconds}
    if control is None or control.state != names.FINISHED or np.isfinite(run.diverged_at):
        return row
    reached = time_to_control(evaluated, control.evaluations.iloc[-1])
    return row | {name: round(float(value), 3) for name, value in reached.items()}


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def read(folder: Path) -> dict[str, Results]:
    """Read each study in a folder, or the folder itself if it is one: short name -> tables. InputError without any."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder that holds the studies' folders.")
    studies = sorted(path.parent for path in (*folder.glob("runs"), *folder.glob("*/runs")) if path.is_dir())
    if not studies:
        raise InputError(
            f"{folder} holds no study, because no folder in it has runs/: give the published runs' folder."
        )
    return {STUDIES.get(path.resolve().name, path.resolve().name): read_study(path) for path in studies}
