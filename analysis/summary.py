"""The summary of a run in words and tables: summary.md, and the same text in the terminal.

To make the tables, figures and summary of a run again from its ledgers, also during the run:

    python -m analysis.summary results/schedule_search/my_run
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from analysis.command import RunPath, run_command, shown
from analysis.figures.draw import save_plot
from analysis.kinds import pictures, plots, sections
from analysis.plots.plot import Plot
from analysis.results import Findings, read_findings, write
from analysis.sections.document import markdown, print_sections
from analysis.sections.run_sections import again
from trainable import names
from trainable.record.files import atomic_file


def write_summary(found: Findings) -> str:
    """Write summary.md of a run folder (atomically) and return its text."""
    shown = [f"{names.FIGURES_FOLDER}/{name}" for name in pictures(found)]
    text = markdown(f"{found.record.study}: {found.record.run}", sections(found), shown)
    with atomic_file(found.folder / names.SUMMARY_FILE, "w") as stream:
        stream.write(text)
    return text


def print_summary(run: Path, console: Console, called: str = "") -> None:
    """Print the text and tables of summary.md in the terminal. Raises InputError if the folder is not a run."""
    print_sections(sections(read_findings(run, called)), console)


def rebuild(run: Path, called: str = "") -> list[str]:
    """Write the tables, figures and summary.md of a run from its ledgers; return a sentence for each that failed.

    called: name of the folder in the summary, if not its path.
    Raises InputError if the folder is not a run, or if a file that they all need is damaged.
    """
    found = read_findings(run, called)
    pieces: list[tuple[str, Callable[[], object]]] = []
    if (run / names.TRIALS_FOLDER).is_dir():
        pieces.append(("the tables", partial(write, run)))
    pieces += [(" and ".join(plot.pictures), partial(_draw, plot, found)) for plot in plots(found) if plot.in_pictures]
    pieces.append((names.SUMMARY_FILE, partial(write_summary, found)))
    failures = []
    for what, make in pieces:
        try:
            make()
        except Exception as error:  # whatever fails: a part of a report can be made again, a run cannot
            failures.append(_failure(what, error, found.called))
    return failures


def _draw(plot: Plot, found: Findings) -> None:
    data = plot.make(found)
    if data is not None:
        save_plot(plot, data, found.folder / names.FIGURES_FOLDER)


def _failure(what: str, error: Exception, called: str) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    reason = " ".join(said.split()).rstrip(".")
    return f"Could not make {what} ({reason}): the run is whole; to try again: {again(called)}"


def conclude(run: Path, console: Console, called: str) -> None:
    """Rebuild and print the summary of a run that has just ended. A failure is printed as a sentence, never raised."""
    failures = []
    try:
        failures += rebuild(run, called)
        print_summary(run, console, called)
    except Exception as error:
        failures.append(_failure("the tables, figures and summary", error, called))
    for sentence in failures:
        console.print(sentence, markup=False, highlight=False)


def main(run: Annotated[RunPath, tyro.conf.Positional]) -> None:
    """Rebuild the tables, figures and summary of a run folder, and print the summary.

    Args:
        run: a run folder, such as results/schedule_search/my_run
    """
    failures = rebuild(run, shown(run))
    print_summary(run, Console(), shown(run))
    print(*failures, sep="\n", end="\n" if failures else "", file=sys.stderr)


if __name__ == "__main__":
    run_command(main, "summary")
