"""A published run from its TensorBoard event files: one row a step, how it ended, what is wrong with it.

A file that is empty, damaged or cut off never ends the reading: the run is kept, and says what is wrong. A loss that is
no number ends the run where it stands, whatever came after: it has diverged, and its last finite loss is not its last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.published.folder_names import Setting, parse_name
from analysis.published.joined_events import Events, read_events
from trainable import names

TAGS: Final = {"eval/loss": names.EVAL_LOSS, "train/loss": names.TRAIN_LOSS, "eval/runtime": names.EVAL_SECONDS}
END_TAG: Final = "train/train_runtime"  # written when training ends: its step is the last, its value the wall seconds
LOSS_TAGS: Final = ("eval/loss", "train/loss")
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
    diverged_at: float = np.inf  # step of the first loss that is no number

    @property
    def role(self) -> str:
        """A control is what its name says to have no teacher."""
        return names.CONTROL if self.setting.schedule == "none" else names.ARM

    @property
    def evaluations(self) -> pd.DataFrame:
        """The rows with a validation loss."""
        return self.reports[np.isfinite(self.reports[names.EVAL_LOSS])]


def read_published_run(folder: Path) -> PublishedRun:
    """The run in a folder of event files. Nothing in it raises: what is wrong is told in `problems`."""
    setting, misnamed = parse_name(folder.name)
    events = read_events(folder, tuple(TAGS), END_TAG)
    reports, end = _reports(events.rows), _end(events.rows)
    missing = "" if events.files else "no event file in the folder"
    evaluated = (events.rows["tag"] == "eval/loss").any()
    empty = "no evaluation in the event file" if events.files and not evaluated else ""
    diverged_at, diverged = _divergence(events.rows)
    reports.loc[reports[names.STEP] >= diverged_at, [names.EVAL_LOSS, names.TRAIN_LOSS]] = np.nan
    cut = "" if missing or empty or end else f"cut short: nothing after step {events.rows['step'].max():.0f}"
    soft = _soft_loss(setting, reports)
    if soft:
        reports[names.EVAL_LOSS] = np.nan
    state = names.FAILED if missing or empty or soft or diverged else names.RUNNING if cut else names.FINISHED
    told = (misnamed, _depth(setting, events), missing, *events.problems, empty, diverged, soft, cut)
    return PublishedRun(
        folder.name,
        setting,
        reports,
        state,
        tuple(filter(None, told)),
        float(end.get("step", np.nan)),
        round(float(end.get("seconds", np.nan)), 3),
        diverged_at,
    )


def _reports(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a step at which the run evaluated or logged.

    train_seconds = seconds since the start - those spent in evaluations. An event is written after what it tells of, so
    an evaluation's own seconds count as spent at its step.
    """
    rows = rows[rows["tag"].isin(TAGS)]
    table = rows.pivot(index="step", columns="tag", values="value").reindex(columns=list(TAGS)).rename(columns=TAGS)
    table = table.astype("float64").round(6)
    table[names.EVAL_SECONDS] = table[names.EVAL_SECONDS].fillna(0).cumsum().round(3)
    table[names.TRAIN_SECONDS] = (rows.groupby("step")["seconds"].max() - table[names.EVAL_SECONDS]).round(3)
    return table.rename_axis(index=names.STEP, columns=None).reset_index().astype({names.STEP: "int64"})


def _end(rows: pd.DataFrame) -> Mapping[Any, Any]:
    """The event that ended training; empty where there is none, or training went on after it."""
    ends = rows[rows["tag"] == END_TAG]
    is_last = len(ends) and ends["step"].iloc[-1] >= rows["step"].max()
    return ends.iloc[-1].to_dict() if is_last else {}


def _divergence(rows: pd.DataFrame) -> tuple[float, str]:
    """The first step with a training or validation loss that is no number, and what to say of it; infinity and "" if
    all are numbers."""
    losses = rows[rows["tag"].isin(LOSS_TAGS) & ~np.isfinite(rows["value"])].sort_values("step", kind="stable")
    if losses.empty:
        return np.inf, ""
    tag, step, value = losses.iloc[0][["tag", "step", "value"]]
    return float(step), f"diverged: {tag} is {value} at step {step:.0f}"


def _soft_loss(setting: Setting, reports: pd.DataFrame) -> str:
    """What to say of a guided run that was evaluated with the teacher on, so that its losses compare with none."""
    evaluated = reports[names.EVAL_LOSS].dropna()
    if setting.schedule in (None, "none") or evaluated.empty or reports[names.TRAIN_LOSS].isna().all():
        return ""
    trained = reports.loc[: evaluated.index[-1], names.TRAIN_LOSS].dropna()
    if trained.empty or evaluated.iloc[-1] - trained.iloc[-1] < SOFT_LOSS_EXCESS:
        return ""
    return f"evaluated with the soft loss (ends at {evaluated.iloc[-1]:.4f}): not a plain validation loss"


def _depth(setting: Setting, events: Events) -> str:
    """What to say of the depth that the folder's name gives, where the event files say another or none."""
    if setting.layers is None or events.rows.empty or events.layers == setting.layers:
        return ""
    if events.layers is None:
        return f"the event file does not say how many layers the model has: {setting.layers} by its name"
    return f"the name says {setting.layers} layers, the model in the event file has {events.layers}"
