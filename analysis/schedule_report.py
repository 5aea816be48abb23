"""Report on the schedules of a search: best schedule of each depth, effect of each parameter, gain over T and weight.

    python -m analysis.schedule_report results/schedule_search/my_run [--arm bigram] [--format markdown|csv]

In a search in groups, the report covers the search trials of one arm. Their gains over the reference control only rank
schedules; the verdict of the summary uses confirmations.

Means by value do not replace an experiment: see `analysis.tables.schedule_effects`.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import pandas as pd
import tyro
from rich.console import Console

from analysis.columns import ARM, LAYERS, MIN_WEIGHT, ROLE, SCHEDULE, TEACHER_STEPS, TRIAL
from analysis.command import RunPath, run_command, shown, write_or_say
from analysis.figures.gain_heatmap import FIGURE, draw
from analysis.figures.style import save
from analysis.results import load
from analysis.sections.document import markdown, print_sections
from analysis.sections.schedule_sections import sections
from analysis.tables.best import CONFIRMED, CONFIRMED_N, CONFIRMED_SD, RANK, best
from analysis.tables.group_search import searched
from analysis.tables.schedule_effects import (
    IMPORTANCE,
    STOPPED,
    TRIALS,
    Space,
    default_arm,
    gain_cells,
    importances,
    marginals,
    read_space,
)
from trainable import names
from trainable.record.option import option
from trainable.record.run_record import read_record

Format = Literal["terminal", "markdown", "csv"]
TABLE: Final = "table"  # column of the CSV: the table of a row
_CONFIRMED: Final = [CONFIRMED, CONFIRMED_SD, CONFIRMED_N]
_WHOLE: Final = [LAYERS, RANK, TEACHER_STEPS, CONFIRMED_N, TRIALS, STOPPED]


def main(
    run: Annotated[RunPath, tyro.conf.Positional],
    arm: Annotated[str | None, option("NAME", "the last arm that searches schedules")] = None,
    format: Format = "terminal",
    out: Annotated[Path | None, option("PATH", "figures/ of the run")] = None,
) -> None:
    """Report on the schedules of a search, and draw the gain over scheduling steps and minimum weight.

    Args:
        run: a run of schedule_search, such as results/schedule_search/my_run
        arm: arm of a search in groups
        format: form of the report
        out: folder for the picture
    """
    record, trials = read_record(run), load(run).trials
    if record.is_grouped:
        arm = arm or default_arm(run, record)
        trials = searched(trials)[lambda tried: (tried[ARM] == arm) & (tried[ROLE] == names.SEARCH)]
    space = read_space(run, arm)
    said = sections(trials, space, None if record.is_grouped else len(record.confirm_seeds))
    path = (out or run / names.FIGURES_FOLDER) / FIGURE
    drawn = write_or_say(path, partial(save, draw(gain_cells(trials), space)), "--out FOLDER")
    if format == "csv":
        print(as_csv(trials, space), end="")
    elif format == "markdown":
        picture = str(path.relative_to(run) if path.is_relative_to(run) else path.resolve())
        print(markdown(f"Schedules of {run.name}{f': {arm}' if arm else ''}", said, [picture] if drawn else []), end="")
    else:
        print_sections(said, Console())
    if drawn:
        print(f"Figure: {shown(path)}", file=sys.stderr)


def as_csv(trials: pd.DataFrame, space: Space) -> str:
    """CSV with all tables below each other; the column `table` names the table, unused columns are empty."""
    ranked = best(trials, top=1)[[LAYERS, RANK, TRIAL, SCHEDULE, TEACHER_STEPS, MIN_WEIGHT, names.GAIN, *_CONFIRMED]]
    tables = {"best": ranked, "effect": marginals(trials, space), IMPORTANCE: importances(trials, space)}
    tables["gain"] = gain_cells(trials)
    whole = [table.assign(**{TABLE: name}) for name, table in tables.items() if len(table)]
    columns = list(dict.fromkeys([TABLE, *(name for table in tables.values() for name in table.columns)]))
    joined = pd.concat(whole or [pd.DataFrame()]).reindex(columns=columns)
    text: str = joined.astype(dict.fromkeys(_WHOLE, "Int64")).to_csv(index=False, lineterminator="\n")
    return text


if __name__ == "__main__":
    run_command(main, "schedule_report")
