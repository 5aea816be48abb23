"""The runs of the published study as two tables like those of our runs: one row a trial, one row a step.

The study this project follows published its runs as TensorBoard event files, with the settings in folder names:

    {day}_{month}_{time}_{scheduling steps}_{minimum weight}_{layers}_{type}[_{fold}]       guided: type l, e or r
    {day}_{month}_{time}_no_bigram_{layers}[_l][_{fold}][_{validation rows}m]      control

Everything in analysis/ can therefore read them like our own results. An empty, truncated or doubled file, or a name
that cannot be parsed, never stops the reading: the trial is kept, and its `reason` names the problem.

    python -m analysis.published_runs ../shared/data/seed_runs                            shows them
    python -m analysis.published_runs ../shared/data/seed_runs --keep results/published   writes them as CSV

`analysis.results.load("results/published/k_fold")` reads what was kept. Columns: results/published/README.md.
"""

from pathlib import Path
from typing import Annotated, Final

import pandas as pd
import tyro

from analysis.columns import (
    ARM,
    CURVES_CSV,
    EVAL_ROWS,
    FOLD,
    LAYERS,
    REASON,
    STATE,
    STEPS_TO_CONTROL,
    TRIAL,
    TRIALS_CSV,
)
from analysis.command import run_command
from analysis.published.studies import WALL_SECONDS, WHOLE, read
from analysis.results import Results
from trainable import names
from trainable.record.files import atomic_file
from trainable.record.option import option

SHOWN: Final = {
    ARM: "arm", LAYERS: "layers", FOLD: "fold", EVAL_ROWS: "validation rows", STATE: "state", names.STEP: "step",
    names.EVAL_LOSS: "eval_loss", names.GAIN: "gain", STEPS_TO_CONTROL: "steps to control", WALL_SECONDS: "wall s",
}  # fmt: skip


def write_csv(results: Results, folder: Path) -> None:
    """Write trials.csv and curves.csv, each atomically. Numbers are written with all digits and read back unchanged."""
    for name, table in ((TRIALS_CSV, results.trials), (CURVES_CSV, results.curves)):
        whole = {column: "Int64" for column in WHOLE if column in table}
        with atomic_file(folder / name, "w") as stream:
            table.astype(whole).to_csv(stream, index=False, lineterminator="\n")


def text(study: str, results: Results) -> str:
    """The trials of a study as a table of text, with the problems of single trials below it."""
    table = results.trials[list(SHOWN)].sort_values([LAYERS, FOLD, EVAL_ROWS, ARM]).dropna(axis=1, how="all")
    forms = {names.EVAL_LOSS: "{:.4f}".format, names.GAIN: "{:+.4f}".format}
    forms |= dict.fromkeys((*WHOLE, STEPS_TO_CONTROL, WALL_SECONDS), "{:.0f}".format)
    shown = table.to_string(index=False, na_rep="-", formatters=forms, header=[SHOWN[name] for name in table])
    return "\n".join([f"{study}: {len(table)} runs", shown, *troubles(results.trials)])


def troubles(trials: pd.DataFrame) -> list[str]:
    """A line for each trial with a problem."""
    spoken = trials[trials[REASON] != ""]
    return [f"! {name}: {reason}" for name, reason in zip(spoken[TRIAL], spoken[REASON], strict=True)]


def main(
    folder: Annotated[Path, tyro.conf.Positional],
    keep: Annotated[Path | None, option("PATH", "nothing is written")] = None,
) -> None:
    """Show the published runs of every study in a folder, read from TensorBoard event files.

    Args:
        folder: the folder that holds the studies' folders, or one study's folder
        keep: write trials.csv and curves.csv of each study under this folder
    """
    for study, results in read(folder).items():
        print(text(study, results), end="\n\n")
        if keep is not None:
            write_csv(results, keep / study)
            print(f"Kept in {keep / study}: {TRIALS_CSV}, {CURVES_CSV}", end="\n\n")


if __name__ == "__main__":
    run_command(main, "published_runs")
