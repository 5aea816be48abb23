"""The curve of each arm: the mean over its units (seeds, folds), with the lowest and the highest of them.

Means are honest only over the same units: the arms of a panel show their finished trials in the units that all of them
have, at steps that all of these reported. Of a search, the best schedule of each depth stands beside its control on the
seeds that confirmed it. Where learning rates
vary, each arm is taken at its own best.
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

TOP: Final = 3  # schedules shown of a depth whose winner no other seed has confirmed
BUDGET: Final = "budget"  # loop.steps; runs of nearly the same length (folds differ by a block) share one
SAME_BUDGET: Final = 0.02
PANEL: Final = [LAYERS, BUDGET, EVAL_ROWS]
NOTE: Final = "note"  # what the legend adds about an arm's units
ARM_INDEX: Final = "arm_index"  # of an arm in the study's list; arms that it does not list come last
_MISSING: Final = "missing"  # state of a planned trial that the run does not have
MEAN, LOW, HIGH, UNITS, ENDS = "mean", "low", "high", "units", "teacher_ends"


def is_search(trials: pd.DataFrame) -> bool:
    """Whether a searcher proposed any trial."""
    return bool((trials[ROLE] == names.SEARCH).any())


def arm_lines(
    results: Results, column: str, arms: Sequence[str] = (), plans: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row an arm, panel and step: mean, low and high of `column` over units, and how many units there are.

    results: of a search in groups, those of `analysis.tables.confirmations.confirmed`.
    plans: the planned trials (`analysis.tables.planned`), whose units the note counts too.
    Columns: model.layers, budget (steps), corpus.eval_rows (NaN: all), arm, arm_index (in `arms`, the study's
    list), role, note, step, mean, low, high, units, teacher_ends (the step from which the teacher is silent; infinity
    if it never ends; NaN for an arm without a teacher).
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
    """The trials that are drawn, with their arm and its index in `arms`, note, panel and the end of their teacher."""
    trials = results.trials
    chosen = _of_search(trials) if is_search(trials) else _of_comparison(results, arms, plans)
    never = np.where(chosen[MIN_WEIGHT].astype(float) > 0, np.inf, chosen[TEACHER_STEPS].astype(float))
    untaught = (chosen[ROLE] == names.CONTROL) | (chosen[SCHEDULE] == NO_TEACHER)  # a rival may have no teacher either
    ends = np.where(untaught, np.nan, never)
    rows = chosen[EVAL_ROWS].astype("float64") if EVAL_ROWS in chosen else np.nan
    return chosen.assign(**{ENDS: ends, BUDGET: _budgets(chosen), EVAL_ROWS: rows}).reset_index(drop=True)


def named_trials(results: Results, arms: Sequence[str] = (), plans: pd.DataFrame | None = None) -> pd.DataFrame:
    """The trials of a comparison, in any state, with their arm, its index in `arms`, and budget.

    Where learning rates vary, of each arm those at the rate with its lowest mean validation loss. With `plans`, planned
    trials that the run lacks are among them.
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
    """Whether an arm has several learning rates to choose from, at the same depth, budget and validation rows."""
    return bool((trials.groupby([*GROUP, ARM], dropna=False)[LEARNING_RATE].nunique() > 1).any())


def _of_comparison(results: Results, arms: Sequence[str], plans: pd.DataFrame | None) -> pd.DataFrame:
    """The finished trials of each arm in the units that all arms have; for an arm without any, all its trials."""
    trials = named_trials(results, arms, plans)
    panel = [LAYERS, BUDGET, *([EVAL_ROWS] if EVAL_ROWS in trials else [])]
    parts = [_in_common_units(part) for _, part in trials.groupby(panel, dropna=False)]
    shown = pd.concat(parts or [trials.assign(**{NOTE: ""})]).loc[lambda table: sorted(table.index)]
    return shown[shown[STATE] != _MISSING]


def _in_common_units(panel: pd.DataFrame) -> pd.DataFrame:
    """The finished trials of a panel in the units that all of its arms have; of an arm without any, all its trials.

    Where no unit is common to all, every arm shows its own. The note says how many of the panel's units are shown.
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
    """What the study calls a trial's arm; of tables older than arms, its schedule."""
    if row.get(ARM):
        return str(row[ARM])
    return "none" if row[ROLE] == names.CONTROL else describe(row)


def _of_search(trials: pd.DataFrame) -> pd.DataFrame:
    """The best schedule of each depth and its control, on the seeds that confirmed it, else on the search's seed.

    Never the seed that chose the winner together with others: the two sides must be means over the same units.
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
    """loop.steps, lengths within 2 % of each other made one; a trial that does not say gets its depth's longest."""
    steps = trials[LOOP_STEPS].astype("float64")
    steps = steps.fillna(steps.groupby(trials[LAYERS]).transform("max")).fillna(trials[names.STEP])
    known: dict[float, float] = {}
    for value in sorted(set(steps), reverse=True):
        longer = min(known.values(), default=np.inf)
        known[value] = longer if value >= (1 - SAME_BUDGET) * longer else value
    return steps.map(known)
