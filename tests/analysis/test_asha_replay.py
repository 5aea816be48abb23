"""Command analysis.asha_replay: what it prints and draws, and how it refuses wrong options."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import run_module
from paths import ROOT
from replay_curves import EARLY, LATE, PAIR, add_depth
from synthetic_run import write_run

from analysis.asha_replay import lead_lines, main, render
from analysis.figures.replay_figure import draw
from analysis.results import load
from analysis.tables.replay import Group, lead, replay
from trainable import names
from trainable.errors import InputError

K_FOLD = ROOT / "results" / "published" / "k_fold"


run_command = partial(run_module, "analysis.asha_replay")


def test_published_curves_are_ahead_and_behind_on_average_in_four_stretches() -> None:
    assert list(lead_lines(load(K_FOLD))) == [
        "at step 30 behind by 0.1131",
        "at steps 60 to 240 ahead by 0.0434",
        "at step 270 behind by 0.0038",
        "at steps 300 to 570 ahead by 0.0268",
    ]


def test_stopped_trials_are_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run")
    add_depth(run, {10: {20: 5.9, 40: 4.9}, 20: {20: 6.0, 40: 4.8}})
    add_depth(run, {30: {20: 6.2}}, state=names.STOPPED)
    assert list(lead(load(run))["step"]) == [20, 40]
    main((run,), orders=2)
    assert "1 trials were stopped and are left out" in capsys.readouterr().err
    assert (run / "figures" / "asha_replay.png").is_file()


def test_the_three_forms_of_the_table_have_the_same_rows() -> None:
    table = replay([PAIR], [90], [2, 3], 5, 4, 0)
    text, csv, markdown = (render(table, form) for form in ("text", "csv", "markdown"))
    assert [len(shown.splitlines()) for shown in (text, csv, markdown)] == [3, 3, 4]
    assert markdown.splitlines()[2].startswith("| 1 | 90 | 2 | 1 | 2 |")
    assert csv.splitlines()[0] == "model.layers,grace,factor,groups,trials,spent,survives,regret"


def test_the_figure_has_a_column_for_each_depth_and_marks_the_end_of_the_longest_schedule() -> None:
    table = replay([PAIR, Group(2, (EARLY, LATE))], [30, 60, 90], [2, 3], 5, 4, 0)
    figure = draw(table, {1: 60.0})
    assert len(figure.axes) == 6
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == ["factor 2", "factor 3", "longest schedule ends"]


def test_the_command_prints_the_table_and_saves_the_figure(tmp_path: Path) -> None:
    figure = tmp_path / "replay.png"
    done = run_command(
        str(K_FOLD), "--controls", "--orders", "3", "--grace", "90", "--format", "csv", "--figure", str(figure)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("1,90,2,5,10,")
    assert "behind by 0.1131" in done.stderr
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "add --controls"),
        ({"controls": True, "grace": (999,)}, "No trial runs past step 999"),
        ({"factor": (1,)}, "--factor: give factors of at least 2"),
        ({"grace": (0,)}, "--grace: give steps of at least 1"),
        ({"slots": 0}, "--slots: give at least 1"),
        ({"orders": 0}, "--orders: give at least 1"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        main((K_FOLD,), **options)


def test_the_command_says_in_one_sentence_that_a_folder_is_not_a_run() -> None:
    done = run_command("nowhere")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nowhere is not a run folder" in done.stderr


def test_the_replay_imports_neither_ray_nor_torch() -> None:
    code = "import sys, analysis.asha_replay; assert not {'ray', 'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
