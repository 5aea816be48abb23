"""Every two arms of a run against each other, paired by seed or fold, at the end of the run and on the way there.

    python -m analysis.contrasts results/kfold/my_run
    python -m analysis.contrasts results/published/k_fold --margin 0.05 --format latex

What makes a pair says `analysis.tables.contrasts`, what stands in a column `analysis.sections.contrast_sections`.
"""

import math
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import pandas as pd
import tyro
from rich.console import Console

from analysis.columns import CONTROL_NAME, LAYERS, LOOP_STEPS, MIN_WEIGHT, ROLE, SCHEDULE, STATE, TEACHER_STEPS, TRIAL
from analysis.command import RunPath, run_command
from analysis.results import Results, load_with
from analysis.sections.contrast_sections import contrast_sections, left_out_lines
from analysis.sections.document import latex, markdown, print_sections
from analysis.tables.contrasts import compared_trials, contrasts, unconfirmed_depths
from trainable import names
from trainable.errors import InputError
from trainable.record.run_record import read_record

Format = Literal["terminal", "csv", "markdown", "latex"]
TRIAL_COLUMNS: Final = (
    *(TRIAL, ROLE, CONTROL_NAME, STATE, LAYERS, SCHEDULE, TEACHER_STEPS, MIN_WEIGHT, LOOP_STEPS),
    *(names.STEP, names.EVAL_LOSS),
)
CURVE_COLUMNS: Final = (TRIAL, names.STEP, names.EVAL_LOSS)


def main(
    run: Annotated[RunPath, tyro.conf.Positional], /, margin: float = names.MARGIN, format: Format = "terminal"
) -> None:
    """Compare every two arms of a run, pair by pair, at 10, 25 and 50 % of the steps and at the end.

    Args:
        run: a run folder, such as results/kfold/my_run, or a folder of kept tables
        margin: nats per token within which two arms count as equivalent
        format: form of the output; csv has plain numbers (left-out trials are listed on stderr)
    """
    if not (math.isfinite(margin) and margin > 0):
        raise InputError(f"--margin is {margin:g}: give nats per token above 0, such as {names.MARGIN}.")
    results = load_with(run, TRIAL_COLUMNS, CURVE_COLUMNS)
    record = read_record(run) if (run / names.RUN_FILE).is_file() else None  # kept tables have none
    trials = compared_trials(results, record)
    table = contrasts(trials, results.curves, record, margin)
    if table.empty:
        raise InputError(_nothing(run, results, trials))
    outs = left_out_lines(trials, unconfirmed_depths(results, trials))
    if format == "csv":
        print(*outs, sep="\n", end="\n" if outs else "", file=sys.stderr)
        print(table.to_csv(None, index=False, float_format="%.10g", lineterminator="\n"), end="")
        return
    sections = contrast_sections(table, trials, margin, outs)
    if format == "terminal":
        print_sections(sections, Console(width=None if sys.stdout.isatty() else 200))
    else:
        title = f"{run.name}: arms against each other"
        print(markdown(title, sections, ()) if format == "markdown" else latex(sections), end="")


def _nothing(run: Path, results: Results, trials: pd.DataFrame) -> str:
    """A sentence on why a run has no contrast, and on what to do."""
    if unconfirmed_depths(results, trials):
        return f"{run} is a search whose winners no other seed has confirmed: let it go on, or resume it."
    return f"{run} has no two arms of the same depth, steps and validation rows: give a run that compares some."


if __name__ == "__main__":
    run_command(main, "contrasts")
