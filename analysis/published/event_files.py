"""A published run from its TensorBoard event files: one row a step, how it ended, what is wrong with it.

A file that is empty, cut off or doubled never ends the reading: the run is kept, and says what is wrong.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

from analysis.published.folder_names import Setting, parse_name
from trainable import names

EVENT_FILES: Final = "*tfevents*"
TAGS: Final = {"eval/loss": names.EVAL_LOSS, "train/loss": names.TRAIN_LOSS, "eval/runtime": names.EVAL_SECONDS}
END_TAG: Final = "train/train_runtime"  # written when training ends: its step is the last, its value the wall seconds
MODEL_TAG: Final = "model_config/text_summary"
# A soft loss is about 2.4 nats above the training loss of the same run, a plain one at most 0.7 above it.
SOFT_LOSS_EXCESS: Final = 1.5


@dataclass(frozen=True)
class PublishedRun:
    """A published run as read: its settings, one row a step, how it ended, what is wrong with it."""

    name: str
    setting: Setting
    reports: pd.DataFrame  # step, eval_loss, train_loss, train_seconds, eval_seconds; NaN where a step has none
    state: str
    problems: tuple[str, ...]
    loop_steps: float = np.nan
    wall_seconds: float = np.nan

    @property
    def role(self) -> str:
        """A control is what its name says to have no teacher."""
        return names.CONTROL if self.setting.schedule == "none" else names.ARM

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


def read_published_run(folder: Path) -> PublishedRun:
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
    return PublishedRun(
        folder.name, setting, reports, state, problems, float(end["step"]), round(float(end["value"]), 3)
    )


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
            for tag, value in ((one.tag, tensor_util.make_ndarray(one.tensor)) for one in event.summary.value):
                if tag == MODEL_TAG:
                    layers = json.loads(value.item().decode())["num_hidden_layers"]
                elif tag in TAGS or tag == END_TAG:
                    rows.append((tag, event.step, event.wall_time, float(value.item())))
    except Exception as error:  # whatever a damaged file makes the reader raise, the trial is kept and says so
        problem = f"the event file is damaged ({type(error).__name__})"
    return _Events(pd.DataFrame(rows, columns=["tag", "step", "wall", "value"]), start, layers, problem)


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
