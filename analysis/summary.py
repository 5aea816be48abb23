"""What a run found, in words and tables: the same text as summary.md and in the terminal.

Rebuild the tables, figures and summary of a run (also of one that is still going) from its ledgers:

    python -m analysis.summary results/schedule_search/my_run
"""

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from analysis.command import RunPath, run_command, shown
from analysis.figures import arm_figures, search_figures
from analysis.results import load, read_run, write
from analysis.sections.document import markdown, print_sections
from analysis.sections.summary_sections import is_comparison, read_all, sections
from trainable import names
from trainable.record.files import atomic_file


def write_summary(run: Path, called: str = "") -> str:
    """Write summary.md of a run folder (atomically) and return its text. Raises InputError if it is not a run."""
    read = read_all(run, called)
    pictures = [f"{names.FIGURES_FOLDER}/{name}" for name in read.figures]
    text = markdown(f"{read.record['study']}: {read.record['run']}", sections(read), pictures)
    with atomic_file(Path(run) / names.SUMMARY_FILE, "w") as stream:
        stream.write(text)
    return text


def print_summary(run: Path, console: Console, called: str = "") -> None:
    """Print the text and tables of summary.md in the terminal. Raises InputError if the folder is not a run."""
    print_sections(sections(read_all(run, called)), console)


def rebuild(run: Path, called: str = "") -> str:
    """Write the tables, figures and summary.md of a run from its ledgers; return the summary's text.

    called: what the summary calls the folder, where not by its path.
    """
    if (Path(run) / names.TRIALS_FOLDER).is_dir():
        write(run)
    figures = arm_figures if is_comparison(read_run(run)) else search_figures
    figures.draw_all(run, load(run))
    return write_summary(run, called)


def main(run: Annotated[RunPath, tyro.conf.Positional]) -> None:
    """Rebuild the tables, figures and summary of a run folder, and print the summary.

    Args:
        run: a run folder, such as results/schedule_search/my_run
    """
    rebuild(run, shown(run))
    print_summary(run, Console(), shown(run))


if __name__ == "__main__":
    run_command(main, "summary")
