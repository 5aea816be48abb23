"""Report on the schedules of a search, in words and tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.columns import LAYERS, MIN_WEIGHT, SCHEDULE, TEACHER_STEPS
from analysis.sections.document import Section, Table
from analysis.tables.best import CONFIRMED, CONFIRMED_HIGH, CONFIRMED_LOW, CONFIRMED_N, CONFIRMED_SD, best
from analysis.tables.schedule_effects import (
    ENOUGH,
    HIGHEST,
    IMPORTANCE,
    LOWEST,
    PARAMETER,
    SD,
    STOPPED,
    TRIALS,
    VALUE,
    Space,
    axis_values,
    equals,
    gain_cells,
    gain_text,
    importances,
    marginals,
)
from analysis.tables.statistics import verdict
from analysis.wording import DASH, number, out_of, plural, signed
from trainable import names


def sections(trials: pd.DataFrame, space: Space, confirm_seeds: int | None = 0) -> list[Section]:
    """The sections of the report.

    confirm_seeds: planned number of confirmation seeds; None for a search in groups, whose summary shows the winners.
    """
    return [
        *([] if confirm_seeds is None else [_best(trials, confirm_seeds)]),
        _marginals(marginals(trials, space)),
        _importances(importances(trials, space)),
        _gains(gain_cells(trials), space),
    ]


def _best(trials: pd.DataFrame, confirm_seeds: int) -> Section:
    headings = (
        "layers",
        "schedule",
        "T",
        "min weight",
        "gain (search seed)",
        "gain of confirmations, mean ± sd (n)",
        "verdict",
    )
    rows = tuple(_best_row(row, confirm_seeds) for _, row in best(trials, top=1).iterrows())
    notes = (
        "Gains in nats per token. The gain on the search's seed is the largest of many and flatters. The gain of the "
        "confirmations is on seeds that did not choose the schedule; the verdict uses its 95 % interval.",
    )
    if not rows:
        return Section("Best schedule of each depth", ("No search trial has finished yet.",))
    return Section("Best schedule of each depth", notes, (Table(headings, rows),))


def _best_row(row: Any, seeds: int) -> tuple[str, ...]:
    n = out_of(row[CONFIRMED_N], seeds)
    confirmed = f"{signed(row[CONFIRMED])} ± {number(row[CONFIRMED_SD], '.4f')} ({n})"
    schedule = (str(row[LAYERS]), row[SCHEDULE], str(row[TEACHER_STEPS]), f"{row[MIN_WEIGHT]:g}")
    return (
        *schedule,
        signed(row[names.GAIN]),
        confirmed if row[CONFIRMED_N] else DASH,
        verdict(row[CONFIRMED_LOW], row[CONFIRMED_HIGH]),
    )


def _marginals(table: pd.DataFrame) -> Section:
    headings = ("layers", "parameter", "value", "gain", "sd", "lowest", "highest", "finished", "stopped")
    rows = tuple(_marginal_row(row) for row in table[table[TRIALS] + table[STOPPED] > 0].to_dict("records"))
    notes = (
        "Mean gain of the finished trials that had the value, whatever their other parameters were. The search tried "
        "some values more often than others, and with other parameters: a difference within the spread says nothing.",
    )
    return Section(
        "Effect of each parameter", notes if rows else ("No search trial has ended yet.",), _tables(headings, rows)
    )


def _marginal_row(row: Mapping[Any, Any]) -> tuple[str, ...]:
    ends = (signed(row[LOWEST]), signed(row[HIGHEST])) if row[TRIALS] > 1 else (DASH, DASH)
    value = row[VALUE] if isinstance(row[VALUE], str) else f"{row[VALUE]:g}"
    gains = (signed(row[names.GAIN]), number(row[SD], ".4f"), *ends)
    return (str(row[LAYERS]), _called(row[PARAMETER]), value, *gains, str(row[TRIALS]), str(row[STOPPED]))


def _importances(table: pd.DataFrame) -> Section:
    given = table.dropna().sort_values([LAYERS, IMPORTANCE], ascending=[True, False])
    headings = ("layers", "parameter", "importance", "finished trials")
    rows = tuple(
        (str(row[LAYERS]), _called(row[PARAMETER]), f"{row[IMPORTANCE]:.0%}", str(row[TRIALS]))
        for row in given.to_dict("records")
    )
    lines = tuple(_too_few(table))
    if rows:
        method = "PED-ANOVA (Optuna): how well each parameter predicts whether a finished trial is in the better half. "
        lines = (method + "Trials that ASHA stopped, most of them poor, are not counted.", *lines)
    return Section("Importance", lines or ("No search trial has finished yet.",), _tables(headings, rows))


def _too_few(table: pd.DataFrame) -> Iterator[str]:
    few = table[table[IMPORTANCE].isna()].drop_duplicates(LAYERS)
    for row in few.to_dict("records"):
        yield f"{plural(row[LAYERS])}: {row[TRIALS]} finished trials are too few (at least {ENOUGH} are needed)."


def _gains(cells: pd.DataFrame, space: Space) -> Section:
    if cells.empty:
        return Section("Gain over T and minimum weight", ("No search trial has ended yet.",))
    min_weights = axis_values(cells, space, MIN_WEIGHT)
    headings = ("layers", "schedule", "T", *(f"{value:g}" for value in min_weights))
    rows = tuple(_gain_row(key, row, min_weights) for key, row in cells.groupby([LAYERS, SCHEDULE, TEACHER_STEPS]))
    return Section(
        "Gain over T and minimum weight",
        (
            "One column per minimum weight. In brackets: gain at the step where ASHA stopped the trial. Empty: not "
            "tried.",
        ),
        _tables(headings, rows),
    )


def _gain_row(key: tuple[Any, ...], row: pd.DataFrame, min_weights: Sequence[float]) -> tuple[str, ...]:
    found = [row[equals(row[MIN_WEIGHT], value)] for value in min_weights]
    return (*map(str, key), *("" if cell.empty else gain_text(cell.iloc[0], "+.3f") for cell in found))


def _tables(headings: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> tuple[Table, ...]:
    return (Table(headings, rows),) if rows else ()


def _called(key: str) -> str:
    """Name of a parameter in the tables."""
    return {SCHEDULE: "schedule", TEACHER_STEPS: "T", MIN_WEIGHT: "min weight"}.get(key, key)
