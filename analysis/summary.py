"""The summary of a run in words and tables: summary.md, and the same text in the terminal.

To make the tables, figures and summary of a run again from its ledgers, also during the run:

    python -m analysis.summary results/schedule_search/my_run
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from analysis.command import RunPath, run_command, shown
from analysis.figures.draw import save_plot
from analysis.kinds import pictures, plots, sections
from analysis.plots.plot import Plot
from analysis.report import REPORT_FILE, write_page
from analysis.results import Findings, read_findings, write
from analysis.sections.document import Section, markdown, print_sections
from analysis.sections.run_sections import again, mixed_precisions
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


def print_ending(found: Findings, console: Console) -> None:
    """Print what the end of a run shows: failures, the verdict, the tables that carry it, and where the rest is."""
    shown: list[Section] = []
    for section in sections(found):
        tables = tuple(table.of_brief() for table in section.tables if table.brief)
        if section.subject == "failed" and (section.tables or len(section.lines) > 1):
            shown.insert(0, section)
        elif section.subject == "verdict":
            shown.append(replace(section, lines=(*section.lines, *mixed_precisions(found.results.trials))))
        elif tables:
            shown.append(replace(section, lines=(), tables=tables))
    print_sections([*shown, _paths(found)], console)


def _paths(found: Findings) -> Section:
    """Section of the paths where a reader goes on, and of the line that reads the run with pandas."""
    paths = (
        ("Summary", f"{found.called}/{names.SUMMARY_FILE}"),
        ("Page", f"{found.called}/{REPORT_FILE}"),
        ("Run", found.called),
        ("In Python", f"from analysis.results import load; trials, curves = load({found.called!r})"),
    )
    return Section("Where to read on", subject="files", commands=paths)


def rebuild(run: Path, called: str = "") -> list[str]:
    """Write the tables, figures and summary.md of a run from its ledgers; return a sentence for each that failed.

    called: name of the folder in the summary, if not its path.
    Raises InputError if the folder is not a run, or if a file that they all need is damaged.
    """
    return _rebuilt(read_findings(run, called))


def _rebuilt(found: Findings) -> list[str]:
    pieces: list[tuple[str, Callable[[], object]]] = []
    if (found.folder / names.TRIALS_FOLDER).is_dir():
        pieces.append(("the tables", partial(write, found.folder, found.results)))
    pieces += [(" and ".join(plot.pictures), partial(_draw, plot, found)) for plot in plots(found) if plot.in_pictures]
    pieces.append((names.SUMMARY_FILE, partial(write_summary, found)))
    return [failure for what, make in pieces for failure in _made(what, make, found.called)]


def _made(what: str, make: Callable[[], object], called: str) -> list[str]:
    """Make a piece of a report; a sentence if that failed."""
    try:
        make()
    except Exception as error:  # however it fails: a piece of a report can be made again, a run cannot
        return [_failure(what, error, called)]
    return []


def _draw(plot: Plot, found: Findings) -> None:
    data = plot.make(found)
    if data is not None:
        save_plot(plot, data, found.folder / names.FIGURES_FOLDER)


def _failure(what: str, error: Exception, called: str) -> str:
    """Sentence on a piece of a report that failed, with the command that makes it again."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    reason = " ".join(said.split()).rstrip(".")
    command = again(called, "report" if what == REPORT_FILE else "summary")
    return f"Could not make {what} ({reason}): the run is whole; to try again: {command}"


def conclude(run: Path, console: Console, called: str) -> None:
    """Make the reports of a run that has just ended and print its answer; a failure is told and never raised."""
    failures = []
    try:
        found = read_findings(run, called)
        failures += _rebuilt(found)
        failures += _made(REPORT_FILE, partial(write_page, found), called)
        print_ending(found, console)
    except Exception as error:
        failures.append(_failure("the tables, figures and summary", error, called))
    for sentence in failures:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)


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
