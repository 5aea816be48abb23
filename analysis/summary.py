"""What a run found, in words and tables: the same text as summary.md and in the terminal.

Rebuild the tables, figures and summary of a run (also of one that is still going) from its ledgers:

    python -m analysis.summary results/schedule_search/my_run
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import tyro
from rich.console import Console

from analysis import curves, figures
from analysis.arm_sections import arm_sections
from analysis.document import Section, markdown, print_sections
from analysis.results import flatten, load, read_run, write
from analysis.search_sections import search_sections
from analysis.sections import Run, failed, not_controlled, question, where
from trainable import names
from trainable.errors import InputError
from trainable.files import atomic_file

NEEDED: Final = {"study", "run", "versions", "git_commit", "hardware", "corpus", "tokenizer", "tokens", "teacher"}


def write_summary(run: Path) -> str:
    """Write summary.md of a run folder (atomically) and return its text. Raises InputError if it is not a run."""
    read = read_all(run)
    pictures = [f"{names.FIGURES_FOLDER}/{name}" for name in read.figures]
    text = markdown(f"{read.record['study']}: {read.record['run']}", sections(read), pictures)
    with atomic_file(Path(run) / names.SUMMARY_FILE, "w") as stream:
        stream.write(text)
    return text


def print_summary(run: Path, console: Console) -> None:
    """Print the text and tables of summary.md in the terminal. Raises InputError if the folder is not a run."""
    print_sections(sections(read_all(run)), console)


def rebuild(run: Path) -> str:
    """Write the tables, figures and summary.md of a run from its ledgers; return the summary's text."""
    if (Path(run) / names.TRIALS_FOLDER).is_dir():
        write(run)
    draw = curves.draw_all if is_comparison(read_run(run)) else figures.draw_all
    draw(run, load(run))
    return write_summary(run)


def sections(run: Run) -> list[Section]:
    """The summary, section by section."""
    found = arm_sections(run) if is_comparison(run.record) else search_sections(run)
    return [question(run), *found, failed(run), not_controlled(run), where(run)]


def is_comparison(record: dict[str, Any]) -> bool:
    """Whether run.json is of a study with a fixed list of arms; else it is a search."""
    return bool(record["spec"].get("kind") == "comparison")


def read_all(run: Path) -> Run:
    """All that a report is written from. Raises InputError if the folder is not a run."""
    record, results = read_run(run), load(run)
    missing = NEEDED - record.keys()
    if missing:
        raise InputError(f"{Path(run) / names.RUN_FILE} lacks {', '.join(sorted(missing))}: restore it from a copy.")
    known = curves.FIGURES if is_comparison(record) else figures.FIGURES
    drawn = tuple(name for name in known if (Path(run) / names.FIGURES_FOLDER / name).is_file())
    return Run(Path(run), record, results, flatten(record["spec"]["base"]), drawn)


def main(run: Annotated[Path, tyro.conf.Positional]) -> None:
    """Rebuild the tables, figures and summary of a run folder, and print the summary.

    Args:
        run: a run folder, such as results/schedule_search/my_run
    """
    rebuild(run)
    print_summary(run, Console())


if __name__ == "__main__":
    try:
        tyro.cli(main, description="Rebuild the tables, figures and summary of a run folder, and print the summary.")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
