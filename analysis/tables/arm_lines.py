"""The curve of each arm: the mean over its units (seeds, folds), with the lowest and the highest of them.

Means can be compared only over the same units: the arms of a panel show their finished trials in the units that all
arms have, at steps that all of these trials reported. In an older search, the best schedule of each depth is shown with
its control, on the seeds of its confirmations. Where learning rates vary, each arm has its own best rate.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import (
    ARM,
    CONTROL_NAME,
    EVAL_ROWS,
    LAYERS,
    LEARNING_RATE,
    LOOP_STEPS,
    MIN_WEIGHT,
    ROLE,
    SCHEDULE,
    STATE,
    TEACHER_STEPS,
    TRIAL,
)
from analysis.results import Results
from analysis.tables.answer import UNIT
from analysis.tables.arms import GROUP, name_settings, pair, settings_apart
from analysis.tables.best import CONFIRMED_N, RANK, best
from analysis.tables.confirmations import NO_TEACHER
from analysis.tables.planned import lacking
from analysis.wording import describe
from trainable import names

TOP: Final = 3  # number of schedules shown for a depth without confirmations
BUDGET: Final = "budget"  # loop.steps; runs of nearly the same length (folds differ by a block) share a budget
SAME_BUDGET: Final = 0.02
PANEL: Final = [LAYERS, BUDGET, EVAL_ROWS]
NOTE: Final = "note"  # text of the legend about the units of an arm
ARM_INDEX: Final = "arm_index"  # place of an arm in the study's list; other arms come last
_MISSING: Final = "missing"  # state of a planned trial that does not exist
MEAN, LOW, HIGH, UNITS, ENDS = "mean", "low", "high", "units", "teacher_ends"


def is_search(trials: pd.DataFrame) -> bool:
    """Whether any trial was proposed by a searcher."""
    return bool((trials[ROLE] == names.SEARCH).any())


def arm_lines(
    results: Results, column: str, arms: Sequence[str] = (), plans: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row for each arm, panel and step: mean, low and high of `column` over units, and the number of units.

    results: for a search in groups, those of `analysis.tables.confirmations.confirmed`.
    plans: the planned trials (`analysis.tables.planned`); the note counts their units too.
    Columns: model.layers, budget (steps), corpus.eval_rows (NaN: all), arm, arm_index (in `arms`, the study's
    list), role, note, step, mean, low, high, units, teacher_ends (the step from which the teacher has weight 0;
    infinity if it never ends; NaN for an arm without a teacher).
    """
    shown = shown_trials(results, arms, plans)
    keys = [*PANEL, ARM, ARM_INDEX, ROLE, NOTE]
    own = results.curves[[TRIAL, names.STEP, column]].dropna()
    points = own[np.isfinite(own[column].astype(float))].merge(shown[[TRIAL, *keys, ENDS]], on=TRIAL)
    groups = points.groupby([*keys, names.STEP], dropna=False)
    table = groups.agg(**{MEAN: (column, "mean"), LOW: (column, "min"), HIGH: (column, "max"), ENDS: (ENDS, "max")})
    table = table.assign(**{UNITS: groups.size()}).reset_index()
    everyone = points.groupby(keys, dropna=False)[TRIAL].nunique().rename("everyone").reset_index()
    whole = table.merge(everyone, on=keys)
    return whole[whole[UNITS] == whole["everyone"]].drop(columns="everyone").reset_index(drop=True)


def shown_trials(results: Results, arms: Sequence[str] = (), plans: pd.DataFrame | None = None) -> pd.DataFrame:
    """The trials to draw, with their arm, its index in `arms`, note, panel and the end of their teacher."""
    trials = results.trials
    chosen = _of_search(trials) if is_search(trials) else _of_comparison(results, arms, plans)
    never = np.where(chosen[MIN_WEIGHT].astype(float) > 0, np.inf, chosen[TEACHER_STEPS].astype(float))
    untaught = (chosen[ROLE] == names.CONTROL) | (chosen[SCHEDULE] == NO_TEACHER)  # some rivals have no teacher
    ends = np.where(untaught, np.nan, never)
    rows = chosen[EVAL_ROWS].astype("float64") if EVAL_ROWS in chosen else np.nan
    return chosen.assign(**{ENDS: ends, BUDGET: _budgets(chosen), EVAL_ROWS: rows}).reset_index(drop=True)


def named_trials(results: Results, arms: Sequence[str] = (), plans: pd.DataFrame | None = None) -> pd.DataFrame:
    """The trials of a comparison, in any state, with their arm, its index in `arms`, and budget.

    Where learning rates vary, each arm has only the trials at the rate with its lowest mean validation loss. Without a
    guided arm, each setting is an arm (`settings_apart`). With `plans`, missing planned trials are included.
    """
    trials = results.trials
    apart = settings_apart(trials, plans)
    tuned = not apart and ARM in trials and LEARNING_RATE in trials and _varies_within_arms(trials)
    if tuned:
        own = [*GROUP, ARM, LEARNING_RATE]
        trials = trials.merge(pair(results, LEARNING_RATE)[own].drop_duplicates(), on=own)
    if plans is not None:
        missing = lacking(plans, results.trials)
        trials = pd.concat([trials, missing.assign(**{STATE: _MISSING})], ignore_index=True)
    named = [_arm(row) for _, row in trials.iterrows()]
    indices = [arms.index(arm) if arm in arms else len(arms) for arm in named]
    if tuned:
        named = [f"{arm}, lr {rate:g}" for arm, rate in zip(named, trials[LEARNING_RATE], strict=True)]
    trials = trials.assign(**{ARM: named, ARM_INDEX: indices, BUDGET: _budgets(trials)})
    return name_settings(trials, apart) if apart else trials


def _varies_within_arms(trials: pd.DataFrame) -> bool:
    """Whether an arm has several learning rates at the same depth, budget and validation rows."""
    return bool((trials.groupby([*GROUP, ARM], dropna=False)[LEARNING_RATE].nunique() > 1).any())


def _of_comparison(results: Results, arms: Sequence[str], plans: pd.DataFrame | None) -> pd.DataFrame:
    """The finished trials of each arm in the units that all arms have; of an arm without any, all trials."""
    trials = named_trials(results, arms, plans)
    panel = [LAYERS, BUDGET, *([EVAL_ROWS] if EVAL_ROWS in trials else [])]
    parts = [_in_common_units(part) for _, part in trials.groupby(panel, dropna=False)]
    shown = pd.concat(parts or [trials.assign(**{NOTE: ""})]).loc[lambda table: sorted(table.index)]
    return shown[shown[STATE] != _MISSING]


def _in_common_units(panel: pd.DataFrame) -> pd.DataFrame:
    """The finished trials of a panel in the units that all its arms have; of an arm without any, all trials.

    Where no unit is common to all arms, every arm has its own units. The note has the number of units that are shown.
    """
    keys = panel.reindex(columns=UNIT).astype("object").fillna("")
    units = pd.Series(list(keys.itertuples(index=False, name=None)), panel.index)
    done = panel[STATE] == names.FINISHED
    has_done = done.groupby(panel[ARM]).transform("any")
    of_arms = [set(units[done & (panel[ARM] == arm)]) for arm in panel.loc[done, ARM].unique()]
    common = set.intersection(*of_arms) if of_arms else set()
    shown = done & units.isin(common) if common else done
    total = units.nunique()
    counts = units[shown].groupby(panel[ARM]).nunique()
    said = {arm: f"{count} of {total} units" if count < total else "" for arm, count in counts.items()}
    notes = [said[arm] if any_done else "not finished" for arm, any_done in zip(panel[ARM], has_done, strict=True)]
    return panel.assign(**{NOTE: notes})[shown | ~has_done]


def _arm(row: Any) -> str:
    """Name of a trial's arm; in tables older than arms, its schedule in words."""
    if row.get(ARM):
        return str(row[ARM])
    return "none" if row[ROLE] == names.CONTROL else describe(row)


def _of_search(trials: pd.DataFrame) -> pd.DataFrame:
    """The best schedule of each depth and its control, on the seeds of its confirmations, else on the search's seed.

    The search's seed is never mixed with others, because it flatters the winner.
    """
    ranked = best(trials, top=TOP)
    parts = [_of_depth(trials, ranked[ranked[LAYERS] == depth]) for depth in sorted(set(ranked[LAYERS]))]
    return pd.concat(parts or [trials.iloc[:0].assign(**{ARM: "", NOTE: ""})]).assign(**{ARM_INDEX: 0})


def _of_depth(trials: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    winner = ranked[ranked[RANK] == 1].iloc[0]
    done = trials[(trials[LAYERS] == winner[LAYERS]) & (trials[STATE] == names.FINISHED)]
    if winner[CONFIRMED_N] > 0:
        same = (done[[SCHEDULE, TEACHER_STEPS, MIN_WEIGHT]] == winner[[SCHEDULE, TEACHER_STEPS, MIN_WEIGHT]]).all(
            axis=1
        )
        paired = done[CONTROL_NAME].isin(done[TRIAL])
        guided, note = done[same & paired & (done[ROLE] == names.CONFIRM)], "seeds that did not choose it"
    else:
        guided, note = done[done[TRIAL].isin(ranked[TRIAL])], "only the seed that chose it"
    guided = guided.assign(**{ARM: [describe(row) for _, row in guided.iterrows()], NOTE: note})
    return pd.concat([done[done[TRIAL].isin(guided[CONTROL_NAME])].assign(**{ARM: "none", NOTE: ""}), guided])


def _budgets(trials: pd.DataFrame) -> pd.Series:
    """loop.steps, with lengths within 2 % of each other made equal; a missing one becomes the longest of its depth."""
    steps = trials[LOOP_STEPS].astype("float64")
    steps = steps.fillna(steps.groupby(trials[LAYERS]).transform("max")).fillna(trials[names.STEP])
    known: dict[float, float] = {}
    for value in sorted(set(steps), reverse=True):
        longer = min(known.values(), default=np.inf)
        known[value] = longer if value >= (1 - SAME_BUDGET) * longer else value
    return steps.map(known)
