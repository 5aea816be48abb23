"""What a search's pictures show: its trials' curves, its best schedules, the gain of every schedule."""

from typing import Final

import numpy as np
import pandas as pd

from analysis.columns import CONTROL_NAME, LAYERS, MIN_WEIGHT, ROLE, SCHEDULE, SEED, STATE, TEACHER_STEPS, TRIAL
from analysis.results import Results
from analysis.tables.best import best
from trainable import names

KIND: Final = "kind"  # of a line: "control", "guided" or "best"
TAIL: Final = 0.4  # share of the steps in curves_tail.png


def curve_lines(results: Results) -> pd.DataFrame:
    """What the curves show: the search's trials and their controls; without a search, every trial.

    One row a finite evaluation: trial, kind (control, guided, best), model.layers, teacher.schedule, state, step,
    eval_loss (nats per token).
    """
    trials, curves = results
    searched = trials[trials[ROLE] == names.SEARCH]
    shown = set(searched[TRIAL]) | set(searched[CONTROL_NAME]) if len(searched) else set(trials[TRIAL])
    lines = curves[curves[TRIAL].isin(shown) & np.isfinite(curves[names.EVAL_LOSS])].copy()
    lines[KIND] = np.where(lines[ROLE] == names.CONTROL, "control", "guided")
    lines.loc[lines[TRIAL].isin(best(trials, top=1)[TRIAL]), KIND] = "best"
    columns = [TRIAL, KIND, LAYERS, SCHEDULE, STATE, names.STEP, names.EVAL_LOSS]
    shown_lines: pd.DataFrame = lines[columns]
    return shown_lines.reset_index(drop=True)


def tail(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines' evaluations in the last 40 % of the steps."""
    late: pd.DataFrame = lines[lines[names.STEP] >= (1 - TAIL) * lines[names.STEP].max()]
    return late.reset_index(drop=True)


def best_points(trials: pd.DataFrame) -> pd.DataFrame:
    """The best schedule of each depth: a row of `analysis.best.best`."""
    return best(trials, top=1)


def gain_points(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a search trial that finished or was stopped: schedule, state, gain (nats per token) at its last step."""
    ended = trials[STATE].isin([names.FINISHED, names.STOPPED]) & np.isfinite(trials[names.GAIN])
    columns = [TRIAL, LAYERS, SCHEDULE, TEACHER_STEPS, MIN_WEIGHT, STATE, names.STEP, names.GAIN, SEED]
    points: pd.DataFrame = trials.loc[ended & (trials[ROLE] == names.SEARCH), columns]
    return points.reset_index(drop=True)


def trial_lines(results: Results) -> pd.DataFrame:
    """One row an evaluation of a search's trials and their controls: `curve_lines` with gain and schedule."""
    more = [TRIAL, names.STEP, names.GAIN, TEACHER_STEPS, MIN_WEIGHT]
    return curve_lines(results).merge(results.curves[more], on=[TRIAL, names.STEP])
