"""All sections of a run's summary, and all that they are written from."""

from pathlib import Path
from typing import Any, Final

from analysis.figures import arm_figures, search_figures
from analysis.results import flatten, load, read_run
from analysis.sections.arm_sections import arm_sections
from analysis.sections.document import Section
from analysis.sections.run_sections import Run, failed, not_controlled, question, where
from analysis.sections.search_sections import search_sections
from trainable import names
from trainable.errors import InputError

NEEDED: Final = {"study", "run", "versions", "git_commit", "hardware", "corpus", "tokenizer", "tokens", "teacher"}


def sections(run: Run) -> list[Section]:
    """The summary, section by section."""
    found = arm_sections(run) if is_comparison(run.record) else search_sections(run)
    return [question(run), *found, failed(run), not_controlled(run), where(run)]


def is_comparison(record: dict[str, Any]) -> bool:
    """Whether run.json is of a study with a fixed list of arms; else it is a search."""
    return bool(record["spec"].get("kind") == "comparison")


def read_all(run: Path, called: str = "") -> Run:
    """All that a report is written from; `called` is the folder's name for users, where that is not its path.

    Raises InputError if the folder is not a run.
    """
    record, results = read_run(run), load(run)
    missing = NEEDED - record.keys()
    if missing:
        raise InputError(f"{Path(run) / names.RUN_FILE} lacks {', '.join(sorted(missing))}: restore it from a copy.")
    known = (arm_figures if is_comparison(record) else search_figures).FIGURES
    drawn = tuple(name for name in known if (Path(run) / names.FIGURES_FOLDER / name).is_file())
    return Run(Path(run), called or str(run), record, results, flatten(record["spec"]["base"]), drawn)
