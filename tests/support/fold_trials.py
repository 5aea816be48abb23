"""Trials of folds: the published five, and pairs of any losses."""

import math
from typing import Any

import pandas as pd

from analysis.sections.document import latex
from analysis.sections.fold_sections import kfold_sections
from analysis.tables.folds import kfold_rows, left_out
from trainable import names

NONE = [4.4371, 4.4340, 4.4403, 4.4550, 4.4235]
LINEAR_240 = [4.3962, 4.4027, 4.4018, 4.4095, 4.4106]


def trial(name: str, control: str, loss: float, fold: int = 0, **changes: Any) -> dict[str, Any]:
    """A row of a finished trial; a trial that is its own control is a control."""
    guided = name != control
    return {
        "trial": name,
        "role": names.ARM if guided else names.CONTROL,
        "arm": "linear 240" if guided else "none",
        "control": control,
        "state": names.FINISHED,
        "reason": "",
        "teacher.schedule": "linear" if guided else "none",
        "teacher.steps": 240 if guided else 0,
        "teacher.min_weight": 0.0,
        "teacher.rows": "student",
        "corpus.folds": 5,
        "corpus.fold": fold,
        "corpus.train_rows": 1_000_000,
        "corpus.eval_rows": 200_000,
        "loop.steps": 570,
        "seed": 0,
        "eval_loss": loss,
        "eval_loss_se": math.nan,
        "step": 570,
        "train_seconds": 5200.0 if guided else 1170.0,
        "steps_to_control": 480.0,
        "steps_saved": 90.0,
        "seconds_to_control": 4380.0,
        "seconds_saved": -3210.0,
    } | changes


def pair(fold: int, control: float, guided: float, seed: int = 0, **changes: Any) -> list[dict[str, Any]]:
    own = {"seed": seed, **changes}
    name = f"none-f{fold}-s{seed}"
    return [trial(name, name, control, fold, seed=seed), trial(f"linear-f{fold}-s{seed}", name, guided, fold, **own)]


def table(*pairs: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([row for one in pairs for row in one])


def text(trials: pd.DataFrame) -> str:
    """Text of all sections, with their tables."""
    return latex(kfold_sections(kfold_rows(trials), left_out(trials))).replace("\\_", "_").replace("\\%", "%")
