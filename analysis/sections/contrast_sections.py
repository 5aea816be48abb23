"""Sections on every two arms of a run: how to read the numbers, then a table for each group."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.columns import ARM, LEARNING_RATE, REASON, ROLE, STATE, TRIAL
from analysis.sections.document import Section, Table
from analysis.sections.run_sections import mixed_precisions
from analysis.tables.arm_lines import PANEL
from analysis.tables.contrasts import (
    ALPHA,
    AT,
    END,
    EQUIVALENT,
    FIRST,
    FOLD_COUNT,
    HIGH,
    LOW,
    P_EQUIVALENT,
    P_HOLM,
    P_ONE_SIDED,
    PAIRS,
    PLANNED,
    RATIO,
    SD,
    SECOND,
    P,
)
from analysis.tables.differences import panel_words
from analysis.tables.pairing import DIFFERENCE
from analysis.wording import DASH, clip, number, out_of, plural, signed
from trainable import names


def contrast_sections(
    table: pd.DataFrame, trials: pd.DataFrame, margin: float, outs: Sequence[str] = ()
) -> list[Section]:
    """Sections: how to read the rows of `contrasts` and what is left out, then one for each group."""
    keys = table[PANEL].drop_duplicates().astype("float64")
    groups = table.groupby(PANEL, sort=False, dropna=False)
    lines = (*_legend(table, margin), *_chosen(trials), *_notes(table), *mixed_precisions(trials), *outs)
    return [Section("How to read this", lines), *(_group(key, part, keys, margin) for key, part in groups)]


def left_out_lines(trials: pd.DataFrame, unconfirmed: Sequence[int]) -> list[str]:
    """A line on each trial that did not finish, and on each depth of a search without a confirmed winner."""
    ended = trials[STATE] == names.FINISHED
    lines = [f"{row[TRIAL]} did not finish: {_state(row)}." for row in trials[~ended].to_dict("records")]
    return [*lines, *(f"{plural(depth)}: the winner was not run on another seed." for depth in unconfirmed)]


def _state(trial: Mapping[Any, Any]) -> str:
    reason = trial.get(REASON)
    return f"{trial[STATE]} ({clip(reason)})" if isinstance(reason, str) and reason else str(trial[STATE])


def _legend(table: pd.DataFrame, margin: float) -> Iterator[str]:
    tests = int(table[P_HOLM].notna().sum())
    yield (
        "Difference: validation loss of the first arm - that of the second, in nats per token, mean over pairs. "
        "Above 0, the second arm has the lower loss."
    )
    yield (
        "A pair: two trials of the same seed and fold at the same step. 10, 25, 50 %: share of the run's steps; the "
        "loss is on the straight line between the two evaluations around that step. end: the last report of trials "
        "that finished."
    )
    yield (
        "p: two-sided test of no difference. One-sided p: small where the second arm has the lower loss. "
        f"Holm p: p adjusted for all {tests} tests in these tables."
    )
    yield (
        f"Equivalent within {margin:g}: two one-sided t tests of whether the difference lies above -{margin:g} and "
        f"below +{margin:g}. yes: the larger of the two p, not adjusted, is below {ALPHA:g}."
    )


def _chosen(trials: pd.DataFrame) -> Iterator[str]:
    """A sentence on how the compared trials were chosen."""
    if (trials[ROLE] == names.CONFIRM).any():
        yield (
            "Compared are the winners of each depth's search, on the seeds of their confirmations, which did not "
            "choose them."
        )
    elif (trials[ROLE] == names.CONTROL).all():
        yield "The run has no guided arm: compared are the settings of its controls."
    elif LEARNING_RATE in trials and trials[ARM].str.contains(", lr ").any():
        yield "lr: each arm has the learning rate with its lowest mean validation loss, chosen on these same units."


def _notes(table: pd.DataFrame) -> Iterator[str]:
    """Sentences on missing pairs and tests."""
    if (table[PAIRS] < table[PLANNED]).any():
        yield (
            "Pairs, such as 4 of 5: existing of planned. A trial that diverged, or has not come to a step, has no "
            "pair there."
        )
    if (table[PAIRS] < 2).any():
        yield f"{DASH}: fewer than 2 pairs allow no test."


def _group(key: tuple[Any, ...], part: pd.DataFrame, keys: pd.DataFrame, margin: float) -> Section:
    headings = ("first", "second", "at", "step", "difference", "95 % interval", "p", "one-sided p", "Holm p")
    rows = tuple(map(_cells, part.to_dict("records")))
    table = Table((*headings, f"equivalent within {margin:g}", "pairs"), rows)
    return Section(panel_words(key, keys), (_interval_words(part), *_without_spread(part)), (table,))


def _interval_words(part: pd.DataFrame) -> str:
    if (part[FOLD_COUNT] == 0).all():
        return "95 % interval and p: Student's t over seeds."
    ratios = part.loc[part[FOLD_COUNT] > 0, RATIO]
    return (
        "95 % interval and p: Nadeau and Bengio's corrected t over folds, the seeds of a fold averaged first; "
        f"n_test/n_train = {ratios.max():.4g}."
    )


def _without_spread(part: pd.DataFrame) -> Iterator[str]:
    """A sentence on each two arms with the same difference in every pair, which a t test cannot weigh."""
    still = part[(part[PAIRS] > 1) & (part[SD] == 0)]
    for (first, second), rows in still.groupby([FIRST, SECOND], sort=False):
        same = "identical losses" if (rows[DIFFERENCE] == 0).all() else "the same difference"
        points = ", ".join(map(_at, rows.to_dict("records")))
        yield f"{first} and {second} have {same} in every pair at {points}: a t test needs a spread."


def _cells(row: Mapping[Any, Any]) -> tuple[str, ...]:
    equivalent = DASH if pd.isna(row[EQUIVALENT]) else "yes" if row[EQUIVALENT] else "not shown"
    p_equivalent = number(row[P_EQUIVALENT], ".3g")
    folds = f" in {row[FOLD_COUNT]} folds" if 0 < row[FOLD_COUNT] < row[PAIRS] else ""
    return (
        *(row[FIRST], row[SECOND], _at(row), DASH if pd.isna(row[names.STEP]) else f"{row[names.STEP]:,}"),
        signed(row[DIFFERENCE]),
        DASH if pd.isna(row[LOW]) else f"{signed(row[LOW])} to {signed(row[HIGH])}",
        *(number(row[name], ".3g") for name in (P, P_ONE_SIDED, P_HOLM)),
        equivalent if equivalent == DASH else f"{equivalent} (p {p_equivalent})",
        f"{out_of(row[PAIRS], row[PLANNED])}{folds}",
    )


def _at(row: Mapping[Any, Any]) -> str:
    return "end" if row[AT] == END else f"{row[AT]:.0%}".replace("%", " %")
