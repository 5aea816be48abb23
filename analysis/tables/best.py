"""The best schedule at each depth, its gain on other seeds, and the cost of the search.

The search picks the largest of many gains, so the gain on the search's seed flatters the winner. The answer is the gain
of the same schedule on other seeds (role `confirm`), with its spread over these seeds.
`python -m analysis.summary RUN` prints the results of these functions.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import (
    ARM,
    CONTROL_NAME,
    FOLD,
    LAYERS,
    LOOP_STEPS,
    MIN_WEIGHT,
    ROLE,
    SCHEDULE,
    SECONDS_SAVED,
    STATE,
    STEPS_SAVED,
    TEACHER_STEPS,
    TRIAL,
)
from analysis.results import Results
from analysis.tables.confirmations import NO_TEACHER
from analysis.tables.statistics import student_interval
from trainable import names

RANK: Final = "rank"
CONFIRMED: Final = "confirmed_gain"
CONFIRMED_SD: Final = "confirmed_sd"
CONFIRMED_N: Final = "confirmed_n"
CONFIRMED_LOW: Final = "confirmed_low"
CONFIRMED_HIGH: Final = "confirmed_high"
CONFIRMED_STEPS_SAVED: Final = "confirmed_steps_saved"
CONFIRMED_SECONDS_SAVED: Final = "confirmed_seconds_saved"
_POINT = [LAYERS, SCHEDULE, TEACHER_STEPS, MIN_WEIGHT]


def best(trials: pd.DataFrame, top: int | None = None) -> pd.DataFrame:
    """The finished search trials, best gain first within each depth; at most `top` for each depth.

    Columns: rank (1 is best of its depth), trial, model.layers, teacher.schedule, teacher.steps, teacher.min_weight,
    gain (nats per token, on the search's seed), eval_loss, steps_saved, seconds_saved, and of the finished
    confirmations of the same schedule: confirmed_gain (mean), confirmed_sd, confirmed_low and confirmed_high (95 %
    interval of the mean), confirmed_n (number of seeds), confirmed_steps_saved and confirmed_seconds_saved (means; NaN
    unless every seed reached its control's loss, because the mean of the others would flatter).
    """
    done = trials[trials[STATE] == names.FINISHED]
    found = done[(done[ROLE] == names.SEARCH) & np.isfinite(done[names.GAIN])]
    ranked = found.sort_values([LAYERS, names.GAIN, TRIAL], ascending=[True, False, True])
    ranked = ranked.assign(**{RANK: ranked.groupby(LAYERS).cumcount() + 1, "_same": _same(ranked)})
    confirmed = ranked.merge(_confirmed(done[done[ROLE] == names.CONFIRM]), on="_same", how="left")
    confirmed[CONFIRMED_N] = confirmed[CONFIRMED_N].fillna(0).astype("int64")
    columns = [RANK, TRIAL, *_POINT, names.GAIN, names.EVAL_LOSS, STEPS_SAVED, SECONDS_SAVED, *_CONFIRMED]
    table: pd.DataFrame = confirmed.loc[confirmed[RANK] <= (top or len(confirmed)), columns]
    return table.reset_index(drop=True)


def stopped(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that ASHA stopped: model.layers, arm, trial, the schedule, step and gain at that step."""
    ended = trials[(trials[ROLE] == names.SEARCH) & (trials[STATE] == names.STOPPED)]
    columns = [LAYERS, *([ARM] if ARM in ended else []), TRIAL, SCHEDULE, TEACHER_STEPS, MIN_WEIGHT]
    return ended.sort_values([LAYERS, names.STEP, TRIAL])[[*columns, names.STEP, names.GAIN]].reset_index(drop=True)


def cost(trials: pd.DataFrame) -> pd.DataFrame:
    """Cost of the run by role. Index: control, then search and confirm or (in a comparison) arm, then total.

    Columns: trials, trial_steps (optimizer steps up to the last report; without work that a crash lost),
    full_trial_steps (the same trials all run to the end), train_seconds and eval_seconds (summed over trials).
    """
    kept = trials.assign(trials=1, trial_steps=trials[names.STEP], full_trial_steps=trials[LOOP_STEPS])
    columns = ["trials", "trial_steps", "full_trial_steps", names.TRAIN_SECONDS, names.EVAL_SECONDS]
    guided = [names.ARM] if (trials[ROLE] == names.ARM).any() else [names.SEARCH, names.CONFIRM]
    roles = [names.CONTROL, *guided]
    table = kept.groupby(ROLE)[columns].sum().reindex(roles, fill_value=0)
    table.loc["total"] = table.sum()
    return table.astype({"trials": "int64", "trial_steps": "int64", "full_trial_steps": "int64"})


def grid_points(layers: Sequence[int], space: Mapping[str, Sequence[Any]]) -> int:
    """Number of settings in a full grid: every combination of the space, at every depth."""
    return len(layers) * math.prod(map(len, space.values()))


def at_edge(row: Mapping[Any, Any], space: Mapping[str, list[Any]]) -> list[str]:
    """Dotted keys of numbers for which a schedule has an end of the range, except 0: a better value may lie beyond."""
    ranges = {key: values for key, values in space.items() if len(values) > 1 and not isinstance(values[0], str)}
    return [key for key, values in ranges.items() if row[key] in (values[0], values[-1]) and row[key] != 0]


def step_time(results: Results, by: Sequence[str] = (LAYERS,)) -> pd.DataFrame:
    """Seconds of a guided and of a plain step, by depth, or by depth and arm (the index).

    Compares the report intervals of a guided trial in which its teacher was on to the end with the same steps of its
    control. Later steps are plain and would hide the cost of the teacher; the first steps are slow in both trials.
    Columns: plain_seconds and guided_seconds (a step, median over trials), ratio (median over trials of guided/plain),
    ratio_low and ratio_high (smallest and largest ratio), trials (number of guided trials). Trials may share the
    machine, so the ratio of one trial is noisy.
    """
    paired = _paired_seconds(results.curves, by).groupby([TRIAL, *by], as_index=False).sum()
    paired["plain"] = paired["plain_seconds"] / paired["steps"]
    paired["guided"] = paired["guided_seconds"] / paired["steps"]
    paired["ratio"] = paired["guided"] / paired["plain"]
    groups = paired.groupby(list(by))
    ratio, table = groups["ratio"], groups[["plain", "guided"]].median().add_suffix("_seconds")
    return table.assign(ratio=ratio.median(), ratio_low=ratio.min(), ratio_high=ratio.max(), trials=ratio.size())


_CONFIRMED = [
    CONFIRMED,
    CONFIRMED_SD,
    CONFIRMED_LOW,
    CONFIRMED_HIGH,
    CONFIRMED_N,
    CONFIRMED_STEPS_SAVED,
    CONFIRMED_SECONDS_SAVED,
]


def _same(trials: pd.DataFrame) -> pd.Series:
    """A key that is equal for trials with the same settings, apart from seed and fold."""
    settings = [name for name in map(str, trials.columns) if "." in name and name != FOLD]
    keys = ["|".join(map(str, row)) for row in trials[settings].itertuples(index=False)]
    return pd.Series(keys, trials.index, dtype="str")


def _confirmed(trials: pd.DataFrame) -> pd.DataFrame:
    trials = trials[np.isfinite(trials[names.GAIN])]
    groups = trials.assign(_same=_same(trials)).groupby("_same")
    rows = [{"_same": key, **_confirmation(group)} for key, group in groups]
    return pd.DataFrame(rows, columns=["_same", *_CONFIRMED]).astype(
        {"_same": "str", **dict.fromkeys(_CONFIRMED, "float64")}
    )


def _confirmation(group: pd.DataFrame) -> dict[str, float]:
    low, high = student_interval(group[names.GAIN].to_numpy(float))
    return {
        CONFIRMED: group[names.GAIN].mean(),
        CONFIRMED_SD: group[names.GAIN].std(ddof=1),
        CONFIRMED_LOW: low,
        CONFIRMED_HIGH: high,
        CONFIRMED_N: len(group),
        CONFIRMED_STEPS_SAVED: group[STEPS_SAVED].mean(skipna=False),
        CONFIRMED_SECONDS_SAVED: group[SECONDS_SAVED].mean(skipna=False),
    }


def _paired_seconds(curves: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """One row for each interval between reports in which the teacher was on.

    Columns: trial, those of `by`, steps, guided_seconds, plain_seconds.
    """
    before = curves.groupby(TRIAL)[[names.STEP, names.TRAIN_SECONDS]].shift()
    spent = curves.assign(steps=curves[names.STEP] - before[names.STEP])
    spent["seconds"] = curves[names.TRAIN_SECONDS] - before[names.TRAIN_SECONDS]
    is_control = spent[ROLE] == names.CONTROL
    taught = (spent[names.STEP] <= spent[TEACHER_STEPS]) | (spent[MIN_WEIGHT] > 0)
    taught &= spent[SCHEDULE] != NO_TEACHER
    same = [CONTROL_NAME, names.STEP, "steps"]
    plain = spent.loc[is_control, [*same, "seconds"]].rename(columns={"seconds": "plain_seconds"})
    guided = spent.loc[~is_control & taught].rename(columns={"seconds": "guided_seconds"}).dropna(subset=["steps"])
    return guided.merge(plain, on=same)[[TRIAL, *by, "steps", "guided_seconds", "plain_seconds"]]
