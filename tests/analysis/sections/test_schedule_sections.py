"""Report of a search on its schedules, in words."""

import io
import itertools
from pathlib import Path

from rich.console import Console
from searches import SPACE, guided, search, text
from synthetic_run import realistic_run

from analysis.results import load
from analysis.sections.document import print_sections
from analysis.sections.schedule_sections import sections
from analysis.tables.schedule_effects import ENOUGH, importances, read_space
from trainable import names


def test_too_few_trials_give_no_importance_and_the_report_says_so(tmp_path: Path) -> None:
    run = search(tmp_path)
    for number, (schedule, steps) in enumerate(itertools.product(["linear", "step"], [20, 40, 60, 80])):
        guided(run, 0.01 * number, schedule, steps, 0.0)
    guided(run, 0.2, "linear", 20, 0.1)
    assert importances(load(run).trials, SPACE)["importance"].isna().all()
    assert f"1 layer: 9 finished trials are too few (at least {ENOUGH} are needed)." in text(run)
    guided(run, 0.1, "linear", 40, 0.1)
    assert importances(load(run).trials, SPACE)["importance"].notna().all()


def test_the_best_schedule_of_a_depth_is_named_with_its_verdict(tmp_path: Path) -> None:
    run = search(tmp_path)
    guided(run, 0.1, "linear", 20, 0.1)
    guided(run, 0.3, "step", 40, 0.0)
    assert "| 1 | step | 40 | 0 | +0.3000 | - | no claim |" in text(run)


def test_gains_of_stopped_trials_are_in_brackets_and_settings_not_tried_are_empty(tmp_path: Path) -> None:
    run = search(tmp_path)
    guided(run, 0.25, "linear", 20, 0.0)
    guided(run, 0.05, "linear", 20, 0.2, names.STOPPED)
    assert "| layers | schedule | T | 0 | 0.1 | 0.2 |" in text(run)
    assert "| 1 | linear | 20 | +0.250 |  | (+0.050) |" in text(run)


def test_the_terminal_cuts_no_cell_short(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run", layers=(1,), trials_per_depth=16)
    stream = io.StringIO()
    print_sections(sections(load(run).trials, read_space(run)), Console(file=stream, width=80))
    assert "…" not in stream.getvalue()
