"""Guided against plain, fold by fold: the pairs, their statistics, and both as a table for the terminal or a paper.

    python -m analysis.kfold_table results/kfold/my_run
    python -m analysis.kfold_table results/published/k_fold --format latex --arm "linear 240"

The fold is the unit (see `analysis.tables.folds` for the reason); the text is in `analysis.sections.fold_sections`.
"""

import sys
from collections.abc import Iterator
from typing import Annotated, Literal

import pandas as pd
import tyro
from rich.console import Console

from analysis.columns import ARM, FOLD, TEACHER_ROWS
from analysis.command import RunPath, run_command
from analysis.results import load
from analysis.sections.document import latex, markdown, print_sections
from analysis.sections.fold_sections import kfold_sections, left_out_lines
from analysis.tables.folds import ROW_COLUMNS, KfoldStatistics, kfold_rows, kfold_statistics, left_out
from analysis.tables.planned import planned_trials
from analysis.tables.statistics import SignedRank, TTest
from trainable import names
from trainable.errors import InputError
from trainable.record.option import option
from trainable.record.run_record import read_record

Format = Literal["terminal", "csv", "markdown", "latex"]


def main(
    results: Annotated[RunPath, tyro.conf.Positional],
    /,
    format: Format = "terminal",
    arm: Annotated[str | None, option("NAME", "all of them")] = None,
) -> None:
    """Compare guided and plain trials over the folds of a run, with tests for folds.

    Args:
        results: a run folder, such as results/kfold/my_run, or a folder of kept tables
        format: form of the output; csv has one number a row (left-out trials are listed on stderr)
        arm: the only arm to show
    """
    trials = load(results).trials
    is_run = (results / names.RUN_FILE).is_file()  # kept tables of others have no plan
    rows, outs = kfold_rows(trials), left_out(trials, planned_trials(read_record(results)) if is_run else None)
    if arm is not None:
        known = dict.fromkeys([*rows[ARM], *outs[ARM]])
        rows, outs = _only(rows, arm), _only(outs, arm)
        if rows.empty:
            raise InputError(f"{results} has no complete fold of an arm {arm!r}: give one of {', '.join(known)}.")
    _print_as(f"{results.name}: guided against plain, by fold", rows, outs, format)


def _print_as(title: str, rows: pd.DataFrame, outs: pd.DataFrame, form: Format) -> None:
    sections = kfold_sections(rows, outs)
    if form == "terminal":
        print_sections(sections, Console(width=None if sys.stdout.isatty() else 200))
    elif form == "csv":
        print(*left_out_lines(outs), sep="\n", end="\n" if len(outs) else "", file=sys.stderr)
        print(kfold_csv(rows), end="")
    else:
        print(markdown(title, sections, ()) if form == "markdown" else latex(sections), end="")


def _only(table: pd.DataFrame, arm: str) -> pd.DataFrame:
    return table[(table[ARM] == arm) | table[ARM].str.startswith(f"{arm}, ")]


def kfold_csv(rows: pd.DataFrame) -> str:
    """CSV with one number a row: arm, fold (empty: over folds), quantity, value.

    Quantities: those of ROW_COLUMNS, then the statistics.
    """
    values = [name for name in ROW_COLUMNS if name not in (ARM, FOLD, TEACHER_ROWS)]
    folds = [(row[ARM], row[FOLD], name, row[name]) for row in rows.to_dict("records") for name in values]
    over = [(one.arm, None, name, value) for one in kfold_statistics(rows) for name, value in _flat(one)]
    table = pd.DataFrame([*folds, *over], columns=[ARM, "fold", "quantity", "value"])
    text = table.astype({"fold": "Int64", "value": "float64"}).to_csv(None, index=False, float_format="%.10g")
    return str(text)


def _flat(found: KfoldStatistics) -> Iterator[tuple[str, float]]:
    """Yield each number with its name: gain_mean, corrected_p, corrected_low, and so on."""
    for name, value in vars(found).items():
        if isinstance(value, TTest | SignedRank):
            yield from ((f"{name}_{part}", float(one)) for part, one in value._asdict().items())
        elif not isinstance(value, str):
            yield name, float(value)


if __name__ == "__main__":
    run_command(main, "kfold_table")
