"""A published run from its TensorBoard event files: one row a step, the state, and a list of problems.

An empty, damaged or truncated file never stops the reading: the run is kept, and its problems are listed. A run
diverges at its first loss that is not a number; losses after that step do not count.
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
END_TAG: Final = "train/train_runtime"  # written when training ends: last step, and seconds of wall clock
LOSS_TAGS: Final = ("eval/loss", "train/loss")
# A soft validation loss is about 2.4 nats above the training loss of the same run, a plain one at most 0.7.
SOFT_LOSS_EXCESS: Final = 1.5


@dataclass(frozen=True)
class PublishedRun:
    """A published run: its settings, one row a step, its state and its problems."""

    name: str
    setting: Setting
    reports: pd.DataFrame  # step, eval_loss, train_loss, train_seconds, eval_seconds; NaN where a step has none
    state: str
    problems: tuple[str, ...]
    loop_steps: float = np.nan
    wall_seconds: float = np.nan
    diverged_at: float = np.inf  # step of the first loss that is not a number

    @property
    def role(self) -> str:
        """Role of the run: a control if its name says that it has no teacher."""
        return names.CONTROL if self.setting.schedule == "none" else names.ARM

    @property
    def evaluations(self) -> pd.DataFrame:
        """The rows with a validation loss."""
        return self.reports[np.isfinite(self.reports[names.EVAL_LOSS])]


def read_published_run(folder: Path) -> PublishedRun:
    """Read the run in a folder of event files. Faulty files raise nothing; they are listed in `problems`."""
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

    train_seconds = seconds since the start - seconds spent in evaluations. An event is written at the end of what it
    records, so the seconds of an evaluation count at its own step.
    """
    rows = rows[rows["tag"].isin(TAGS)]
    table = rows.pivot(index="step", columns="tag", values="value").reindex(columns=list(TAGS)).rename(columns=TAGS)
    table = table.astype("float64").round(6)
    table[names.EVAL_SECONDS] = table[names.EVAL_SECONDS].fillna(0).cumsum().round(3)
    table[names.TRAIN_SECONDS] = (rows.groupby("step")["seconds"].max() - table[names.EVAL_SECONDS]).round(3)
    return table.rename_axis(index=names.STEP, columns=None).reset_index().astype({names.STEP: "int64"})


def _end(rows: pd.DataFrame) -> Mapping[Any, Any]:
    """The event that ended training; empty where there is none, or where training continued after it."""
    ends = rows[rows["tag"] == END_TAG]
    is_last = len(ends) and ends["step"].iloc[-1] >= rows["step"].max()
    return ends.iloc[-1].to_dict() if is_last else {}


def _divergence(rows: pd.DataFrame) -> tuple[float, str]:
    """The first step with a loss that is not a number, and a sentence about it; infinity and "" if there is none."""
    losses = rows[rows["tag"].isin(LOSS_TAGS) & ~np.isfinite(rows["value"])].sort_values("step", kind="stable")
    if losses.empty:
        return np.inf, ""
    tag, step, value = losses.iloc[0][["tag", "step", "value"]]
    return float(step), f"diverged: {tag} is {value} at step {step:.0f}"


def _soft_loss(setting: Setting, reports: pd.DataFrame) -> str:
    """A sentence on a guided run that was evaluated with the teacher on, so its losses cannot be compared; "" else."""
    evaluated = reports[names.EVAL_LOSS].dropna()
    if setting.schedule in (None, "none") or evaluated.empty or reports[names.TRAIN_LOSS].isna().all():
        return ""
    trained = reports.loc[: evaluated.index[-1], names.TRAIN_LOSS].dropna()
    if trained.empty or evaluated.iloc[-1] - trained.iloc[-1] < SOFT_LOSS_EXCESS:
        return ""
    return f"evaluated with the soft loss (ends at {evaluated.iloc[-1]:.4f}): not a plain validation loss"


def _depth(setting: Setting, events: Events) -> str:
    """A sentence on the depth in the folder's name, where the event files have another depth or none; "" else."""
    if setting.layers is None or events.rows.empty or events.layers == setting.layers:
        return ""
    if events.layers is None:
        return f"the event file does not say how many layers the model has: {setting.layers} by its name"
    return f"the name says {setting.layers} layers, the model in the event file has {events.layers}"
