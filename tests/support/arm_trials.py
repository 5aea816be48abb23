"""Trials of arms with computed losses, for tests of curves by arm."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from analysis.results import Results
from trainable import names

STEPS = tuple(range(0, 121, 20))


def trial_rows(
    arm: str, unit: int, offset: float, steps: Iterable[int] = STEPS, **settings: Any
) -> tuple[dict[str, Any], pd.DataFrame]:
    """A trial's row, and its reports: loss 9 - step / 40 + offset, training loss the same + 0.1 ten steps earlier."""
    guided = arm != "none"
    row = {
        "trial": f"{arm}-{unit}-{sorted(settings.items())}",
        "role": names.ARM if guided else names.CONTROL,
        "arm": arm,
        "control": f"none-{unit}",
        "state": names.FINISHED,
        "reason": "",
        "model.layers": 1,
        "teacher.schedule": "linear" if guided else "none",
        "teacher.steps": 60 if guided else 0,
        "teacher.min_weight": 0.0,
        "seed": unit,
        "corpus.fold": 0,
        "corpus.folds": np.nan,
        "corpus.train_rows": 200.0,
        "corpus.eval_rows": 50.0,
        "optimizer.lr": 1e-3,
        "loop.steps": 120,
    } | settings
    at = np.array(list(steps), dtype=float)
    loss = 9 - at / 40 + offset
    evaluated = pd.DataFrame({"step": at, "eval_loss": loss, "train_loss": np.nan, "train_seconds": at})
    trained = pd.DataFrame({"step": at + 10, "eval_loss": np.nan, "train_loss": loss + 0.1, "train_seconds": at + 10})
    curve = pd.concat([evaluated, trained], ignore_index=True).assign(trial=row["trial"])
    others = [name for name in names.REPORT_COLUMNS if name not in curve]
    curve = curve.assign(**dict.fromkeys(others, 1.0))
    return row | {"step": int(at[-1]), "train_seconds": at[-1], "eval_loss": loss[-1], "gain": -offset}, curve


def study(*trials: tuple[dict[str, Any], pd.DataFrame]) -> Results:
    rows, curves = zip(*trials, strict=True)
    return Results(pd.DataFrame(list(rows)), pd.concat(curves, ignore_index=True))


def two_arms(**settings: Any) -> Results:
    controls = [trial_rows("none", unit, 0.1 * unit) for unit in range(3)]
    return study(*controls, *(trial_rows("linear 240", unit, 0.1 * unit - 0.3, **settings) for unit in range(3)))
