"""Command analysis.schedule_report: report, picture and CSV of a search; a comparison is refused."""

import io
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from commands import run_module
from searches import SPACE, search, steps_matter, text
from synthetic_run import realistic_run, spec, write_run

from analysis.figures.gain_heatmap import FIGURE
from analysis.results import load
from analysis.schedule_report import as_csv
from analysis.tables.schedule_effects import read_space
from trainable import names
from trainable.errors import InputError

run_command = partial(run_module, "analysis.schedule_report")


def test_the_report_of_a_search_without_a_finished_trial_says_so_in_every_section(tmp_path: Path) -> None:
    run = search(tmp_path)
    report = text(run)
    assert report.count("No search trial has finished yet.") == 2
    assert report.count("No search trial has ended yet.") == 2
    assert run_command(str(run), "--format", "csv").returncode == 0
    assert (run / names.FIGURES_FOLDER / FIGURE).is_file()


def test_the_csv_has_all_four_tables(tmp_path: Path) -> None:
    run = steps_matter(tmp_path)
    table = pd.read_csv(io.StringIO(as_csv(load(run).trials, SPACE)))
    assert dict(table["table"].value_counts()) == {"gain": 24, "effect": 9, "importance": 3, "best": 1}
    assert table.loc[table["table"] == "best", "gain"].item() == pytest.approx(0.8023)


@pytest.mark.parametrize(
    ("format", "start"), [("terminal", "\nBest schedule"), ("markdown", "# Schedules of run"), ("csv", "table,")]
)
def test_the_command_prints_the_report_and_draws_the_picture(tmp_path: Path, format: str, start: str) -> None:
    run = realistic_run(tmp_path / "run", layers=(1,))
    done = run_command(str(run), "--format", format, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(start)
    assert (tmp_path / "out" / FIGURE).read_bytes().startswith(b"\x89PNG")
    assert not (run / names.FIGURES_FOLDER).exists()


def test_a_comparison_is_refused_in_one_sentence(tmp_path: Path) -> None:
    comparison = {key: value for key, value in spec().items() if key != "space"}
    run = write_run(tmp_path / "run", spec=comparison)
    with pytest.raises(InputError, match="is not a search"):
        read_space(run)
    done = run_command(str(run))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
