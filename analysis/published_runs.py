"""The published study's runs as the same two tables as our own: one row a trial, one row a step.

The study this project follows published its runs as TensorBoard event files, with the settings in folder names:

    {day}_{month}_{time}_{scheduling steps}_{floor}_{layers}_{type}[_{fold}]       guided: type l, e or r
    {day}_{month}_{time}_no_bigram_{layers}[_l][_{fold}][_{validation rows}m]      control

So everything in analysis/ that reads our results reads theirs. A file that is empty, cut off or doubled, or a name that
says nothing, never ends the reading: the trial is kept, and its `reason` says what is wrong with it.

    python -m analysis.published_runs ../shared/data/seed_runs                            shows them
    python -m analysis.published_runs ../shared/data/seed_runs --keep results/published   writes them as CSV

`analysis.results.load("results/published/k_fold")` reads what was kept. Columns: results/published/README.md.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import pandas as pd
import tyro
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

from analysis.results import (
    ARM,
    CURVE_GROUPS,
    CURVES_CSV,
    EVAL_ROWS,
    FOLD,
    FOLDS,
    LAYERS,
    LOOP_STEPS,
    MIN_WEIGHT,
    REASON,
    SCHEDULE,
    SECONDS_SAVED,
    SECONDS_TO_CONTROL,
    SEED,
    STATE,
    STEPS_SAVED,
    STEPS_TO_CONTROL,
    TEACHER_STEPS,
    TRIAL,
    TRIALS_CSV,
    WHO,
    Results,
    reach,
)
from trainable import names
from trainable.errors import InputError
from trainable.files import atomic_file

TAU: Final = "teacher.tau"
WALL_SECONDS: Final = "wall_seconds"  # of the whole run, evaluations included, as the run itself logged it

STUDIES: Final = {
    "llama2-bigram-guided-k-fold": "k_fold",
    "llama2-tiny-bigram-guided": "schedules",
    "llama2-tiny-bigram-guided-large-validation-set": "validation_size",
}
TYPES: Final = {"l": "linear", "e": "exponential", "r": "reciprocal"}
PUBLISHED_TAU: Final = {"exponential": 1.0, "reciprocal": 1.0}  # exp(-t) and 1/t, in steps, whatever T is
PUBLISHED_FOLDS: Final = 5
PUBLISHED_EVAL_ROWS: Final = 200_000  # where the name gives no other size
UNKNOWN: Final = "unknown"
# A soft loss is about 2.4 nats above the training loss of the same run, a plain one at most 0.7 above it.
SOFT_LOSS_EXCESS: Final = 1.5

EVENT_FILES: Final = "*tfevents*"
TAGS: Final = {"eval/loss": names.EVAL_LOSS, "train/loss": names.TRAIN_LOSS, "eval/runtime": names.EVAL_SECONDS}
END_TAG: Final = "train/train_runtime"  # written when training ends: its step is the last, its value the wall seconds
MODEL_TAG: Final = "model_config/text_summary"

NAME: Final = re.compile(
    r"\d+_\d+_\d+-\d+-\d+_"
    r"(?:no_bigram_(?P<control_layers>\d+)(?:_[a-z])?"
    r"|(?P<steps>\d+)_(?P<floor>\d+(?:\.\d+)?)_(?P<layers>\d+)_(?P<type>[a-z]))"
    r"(?:_(?P<fold>\d+))?(?:_(?P<million_rows>\d+(?:\.\d+)?)m)?"
)
SETTINGS: Final = [LAYERS, SCHEDULE, TEACHER_STEPS, MIN_WEIGHT, TAU, FOLDS, FOLD, EVAL_ROWS, SEED, LOOP_STEPS]
LAST: Final = [names.STEP, names.EVAL_LOSS, names.GAIN, names.TRAIN_SECONDS, names.EVAL_SECONDS]
AGAINST_CONTROL: Final = [STEPS_TO_CONTROL, STEPS_SAVED, SECONDS_TO_CONTROL, SECONDS_SAVED]
TRIAL_COLUMNS: Final = [*WHO, *SETTINGS, *LAST, WALL_SECONDS, *AGAINST_CONTROL]
REPORT: Final = [names.STEP, names.EVAL_LOSS, names.GAIN, names.TRAIN_LOSS, names.TRAIN_SECONDS, names.EVAL_SECONDS]
CURVE_COLUMNS: Final = [*CURVE_GROUPS, *REPORT]
WHOLE: Final = [LAYERS, TEACHER_STEPS, FOLDS, FOLD, EVAL_ROWS, SEED, LOOP_STEPS, names.STEP]
SHOWN: Final = {
    ARM: "arm", LAYERS: "layers", FOLD: "fold", EVAL_ROWS: "validation rows", STATE: "state", names.STEP: "step",
    names.EVAL_LOSS: "eval_loss", names.GAIN: "gain", STEPS_TO_CONTROL: "steps to control", WALL_SECONDS: "wall s",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the name of a folder says of its run; None where it says nothing."""

    schedule: str | None = None  # a schedule of trainable.schedules, UNKNOWN for another letter, None for no such name
    steps: int | None = None
    min_weight: float | None = None
    layers: int | None = None
    fold: int | None = None
    eval_rows: int | None = None

    @property
    def arm(self) -> str:
        """ "none", "linear 240", "linear 240 floor 0.1"."""
        if self.schedule is None or self.schedule == "none":
            return self.schedule or UNKNOWN
        floor = f" floor {self.min_weight:g}" if self.min_weight else ""
        return f"{self.schedule} {self.steps}{floor}"


@dataclass(frozen=True)
class Run:
    """A published run as read: its settings, one row a step, how it ended, what is wrong with it."""

    name: str
    setting: Setting
    reports: pd.DataFrame  # step, eval_loss, train_loss, train_seconds, eval_seconds; NaN where a step has none
    state: str
    problems: tuple[str, ...]
    loop_steps: float = np.nan
    wall_seconds: float = np.nan

    @property
    def evaluations(self) -> pd.DataFrame:
        """The rows with a validation loss."""
        return self.reports[np.isfinite(self.reports[names.EVAL_LOSS])]


@dataclass(frozen=True)
class _Events:
    """An event file as read."""

    rows: pd.DataFrame  # tag, step, wall (seconds since 1970), value
    start: float  # seconds since 1970
    layers: int | None  # of the model that ran
    problem: str = ""


# ---- from names and event files to runs ------------------------------------------------------------------------------


def parse_name(name: str) -> tuple[Setting, str]:
    """The settings in a folder's name, and what is wrong with the name ("" for nothing)."""
    found = NAME.fullmatch(name)
    if found is None:
        return Setting(), "the name of the folder is not one of the study's: its settings are unknown"
    fold = None if found["fold"] is None else int(found["fold"])
    rows = round(float(found["million_rows"]) * 1e6) if found["million_rows"] else PUBLISHED_EVAL_ROWS
    if found["control_layers"]:
        layers = int(found["control_layers"])
        return Setting(schedule="none", steps=0, min_weight=0.0, layers=layers, fold=fold, eval_rows=rows), ""
    setting = Setting(
        schedule=TYPES.get(found["type"], UNKNOWN),
        steps=int(found["steps"]),
        min_weight=float(found["floor"]),
        layers=int(found["layers"]),
        fold=fold,
        eval_rows=rows,
    )
    problem = f"type {found['type']!r} in the name is no schedule of the study" if setting.schedule == UNKNOWN else ""
    return setting, problem


def read_run(folder: Path) -> Run:
    """The run in a folder of event files. Nothing in it raises: what is wrong is told in `problems`."""
    setting, misnamed = parse_name(folder.name)
    files = sorted(folder.glob(EVENT_FILES))
    events, others = _choose([_read_events(path) for path in files])
    reports, ends = _reports(events), events.rows[events.rows["tag"] == END_TAG]
    missing = "" if files else "no event file in the folder"
    empty = "no evaluation in the event file" if files and reports[names.EVAL_LOSS].isna().all() else ""
    cut = "" if missing or empty or len(ends) else f"cut short: nothing after step {events.rows['step'].max():.0f}"
    soft = _soft_loss(setting, reports)
    if soft:
        reports[names.EVAL_LOSS] = np.nan
    state = names.FAILED if missing or empty or soft else names.RUNNING if cut else names.FINISHED
    other_depth = _other_depth(setting, events)
    problems = tuple(filter(None, (misnamed, other_depth, missing, events.problem, others, empty, soft, cut)))
    end = ends.iloc[-1] if len(ends) else {"step": np.nan, "value": np.nan}
    return Run(folder.name, setting, reports, state, problems, float(end["step"]), round(float(end["value"]), 3))


def _choose(read: list[_Events]) -> tuple[_Events, str]:
    """The event file with the most evaluations (the newest of equals), and a word on the others: runs never mix."""
    if not read:
        return _Events(pd.DataFrame(columns=["tag", "step", "wall", "value"]), np.nan, None), ""
    chosen = max(read, key=lambda events: ((events.rows["tag"] == "eval/loss").sum(), events.start))
    many = f"{len(read)} event files in the folder: the one with the most evaluations counts" if len(read) > 1 else ""
    return chosen, many


def _read_events(path: Path) -> _Events:
    """All of an event file that can be read. TensorBoard's reader ends at a record that is cut off or damaged."""
    rows: list[tuple[str, int, float, float]] = []
    start, layers, problem = np.nan, None, ""
    try:
        for event in EventFileLoader(str(path)).Load():
            start = event.wall_time if np.isnan(start) else start
            for tag, value in _values(event):
                if tag == MODEL_TAG:
                    layers = json.loads(value.item().decode())["num_hidden_layers"]
                elif tag in TAGS or tag == END_TAG:
                    rows.append((tag, event.step, event.wall_time, float(value.item())))
    except Exception as error:  # whatever a damaged file makes the reader raise, the trial is kept and says so
        problem = f"the event file is damaged ({type(error).__name__})"
    return _Events(pd.DataFrame(rows, columns=["tag", "step", "wall", "value"]), start, layers, problem)


def _values(event: Any) -> Iterator[tuple[str, np.ndarray]]:
    return ((value.tag, tensor_util.make_ndarray(value.tensor)) for value in event.summary.value)


def _reports(events: _Events) -> pd.DataFrame:
    """One row a step at which the run evaluated or logged.

    train_seconds = wall clock since the start - seconds spent in evaluations. An event is written after what it tells
    of, so an evaluation's own seconds count as spent at its step.
    """
    rows = events.rows[events.rows["tag"].isin(TAGS)].drop_duplicates(["tag", "step"], keep="last")
    table = rows.pivot(index="step", columns="tag", values="value").reindex(columns=list(TAGS)).rename(columns=TAGS)
    table = table.astype("float64").round(6)
    table[names.EVAL_SECONDS] = table[names.EVAL_SECONDS].fillna(0).cumsum().round(3)
    wall = rows.groupby("step")["wall"].max().astype("float64") - _start(events)
    table[names.TRAIN_SECONDS] = (wall - table[names.EVAL_SECONDS]).round(3)
    return table.rename_axis(index=names.STEP, columns=None).reset_index().astype({names.STEP: "int64"})


def _start(events: _Events) -> float:
    """When training began: its end - its own count of seconds; of a run that was cut short, its first event."""
    ends = events.rows[events.rows["tag"] == END_TAG]
    return float((ends["wall"] - ends["value"]).iloc[-1]) if len(ends) else events.start


def _soft_loss(setting: Setting, reports: pd.DataFrame) -> str:
    """What to say of a guided run that was evaluated with the teacher on, so that its losses compare with none."""
    evaluated = reports[names.EVAL_LOSS].dropna()
    if setting.schedule in (None, "none") or evaluated.empty or reports[names.TRAIN_LOSS].isna().all():
        return ""
    trained = reports.loc[: evaluated.index[-1], names.TRAIN_LOSS].dropna()
    if trained.empty or evaluated.iloc[-1] - trained.iloc[-1] < SOFT_LOSS_EXCESS:
        return ""
    return f"evaluated with the soft loss (ends at {evaluated.iloc[-1]:.4f}): not a plain validation loss"


def _other_depth(setting: Setting, events: _Events) -> str:
    if events.layers is None or setting.layers in (None, events.layers):
        return ""
    return f"the name says {setting.layers} layers, the model in the event file has {events.layers}"


# ---- from runs to tables ---------------------------------------------------------------------------------------------


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


# ---- what is kept and shown ------------------------------------------------------------------------------------------


def write_csv(results: Results, folder: Path) -> None:
    """Write trials.csv and curves.csv, each atomically. Numbers are written in full: they read back as they were."""
    for name, table in ((TRIALS_CSV, results.trials), (CURVES_CSV, results.curves)):
        whole = {column: "Int64" for column in WHOLE if column in table}
        with atomic_file(folder / name, "w") as stream:
            table.astype(whole).to_csv(stream, index=False, lineterminator="\n")


def text(study: str, results: Results) -> str:
    """A study's trials as a table of text, and below it what is to be said of single trials."""
    table = results.trials[list(SHOWN)].sort_values([LAYERS, FOLD, EVAL_ROWS, ARM]).dropna(axis=1, how="all")
    forms = {names.EVAL_LOSS: "{:.4f}".format, names.GAIN: "{:+.4f}".format}
    forms |= dict.fromkeys((*WHOLE, STEPS_TO_CONTROL, WALL_SECONDS), "{:.0f}".format)
    shown = table.to_string(index=False, na_rep="-", formatters=forms, header=[SHOWN[name] for name in table])
    return "\n".join([f"{study}: {len(table)} runs", shown, *troubles(results.trials)])


def troubles(trials: pd.DataFrame) -> list[str]:
    """A line for each trial that something is to be said of."""
    spoken = trials[trials[REASON] != ""]
    return [f"! {name}: {reason}" for name, reason in zip(spoken[TRIAL], spoken[REASON], strict=True)]


def main(folder: Annotated[Path, tyro.conf.Positional], keep: Path | None = None) -> None:
    """Show the published runs of every study in a folder, read from TensorBoard event files.

    Args:
        folder: the folder that holds the studies' folders, or one study's folder
        keep: write trials.csv and curves.csv of each study under this folder
    """
    for study, results in read(folder).items():
        print(text(study, results), end="\n\n")
        if keep is not None:
            write_csv(results, keep / study)
            print(f"Kept in {keep / study}: {TRIALS_CSV}, {CURVES_CSV}", end="\n\n")


if __name__ == "__main__":
    try:
        tyro.cli(main, prog="python -m analysis.published_runs")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
