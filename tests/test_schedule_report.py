"""What a search says of the schedule: means by value, importance, gain over T and floor, and the command line."""

import io
import itertools
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from synthetic_run import add_trial, realistic_run, spec, write_run

from analysis.figures.gain_heatmap import FIGURE, draw
from analysis.results import load
from analysis.schedule_report import as_csv
from analysis.sections.document import markdown, print_sections
from analysis.sections.schedule_sections import sections
from analysis.tables.schedule_effects import ENOUGH, gain_cells, importances, marginals, read_space
from trainable import names
from trainable.errors import InputError

ROOT = Path(__file__).parents[1]
CONTROL = {0: 8.0, 60: 6.0, 120: 5.0}
SPACE = {
    "teacher.schedule": ["linear", "step"],
    "teacher.steps": [20, 40, 60, 80],
    "teacher.min_weight": [0.0, 0.1, 0.2],
}


def search(tmp_path: Path) -> Path:
    """A run at one depth without guided trials."""
    run = write_run(tmp_path / "run", spec=spec(layers=[1], space=SPACE))
    add_trial(run, names.CONTROL, CONTROL)
    return run


def guided(run: Path, gain: float, schedule: str, steps: int, floor: float, state: str = names.FINISHED) -> None:
    losses = {step: loss - (gain if step else 0) for step, loss in CONTROL.items()}
    settings = {"teacher__schedule": schedule, "teacher__steps": steps, "teacher__min_weight": floor}
    add_trial(run, names.SEARCH, losses, control=CONTROL, state=state, **settings)


def steps_matter(tmp_path: Path) -> Path:
    """24 trials whose gain is the scheduling steps / 100 and next to nothing else."""
    run = search(tmp_path)
    for number, (schedule, steps, floor) in enumerate(itertools.product(*SPACE.values())):
        guided(run, steps / 100 + number * 1e-4, schedule, steps, floor)
    return run


def row(table: pd.DataFrame, parameter: str, value: object) -> pd.Series:
    (found,) = [one for _, one in table.iterrows() if (one["parameter"], one["value"]) == (parameter, value)]
    return found


def text(run: Path) -> str:
    return markdown("report", sections(load(run).trials, read_space(run)), [])


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis.schedule_report", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_effect_of_a_value_is_the_mean_gain_of_the_finished_trials_that_had_it(tmp_path: Path) -> None:
    run = search(tmp_path)
    for gain, steps in ((0.1, 20), (0.4, 40)):
        guided(run, gain, "linear", steps, 0.1)
    guided(run, 9.0, "linear", 60, 0.1, names.STOPPED)
    guided(run, 9.0, "linear", 80, 0.1, names.FAILED)
    found = row(marginals(load(run).trials, SPACE), "teacher.schedule", "linear")
    assert (found["gain"], found["sd"]) == pytest.approx((0.25, 0.3 / math.sqrt(2)))
    assert (found["lowest"], found["highest"]) == pytest.approx((0.1, 0.4))
    assert (found["trials"], found["stopped"]) == (2, 1)


def test_a_value_that_was_not_tried_has_no_trials_and_no_mean(tmp_path: Path) -> None:
    run = search(tmp_path)
    guided(run, 0.1, "linear", 20, 0.1)
    found = row(marginals(load(run).trials, SPACE), "teacher.schedule", "step")
    assert found["trials"] == 0
    assert math.isnan(found["gain"])


def test_decimals_that_differ_in_the_last_digit_are_one_value(tmp_path: Path) -> None:
    run = search(tmp_path)
    guided(run, 0.1, "linear", 20, 0.1 * 3 - 0.2)
    assert row(marginals(load(run).trials, SPACE), "teacher.min_weight", 0.1)["trials"] == 1


def test_the_parameter_that_makes_the_gain_is_the_important_one(tmp_path: Path) -> None:
    table = importances(load(steps_matter(tmp_path)).trials, SPACE).set_index("parameter")["importance"]
    assert table["teacher.steps"] > 0.8
    assert table.sum() == pytest.approx(1)


def test_importance_is_the_same_each_time(tmp_path: Path) -> None:
    trials = load(steps_matter(tmp_path)).trials
    pd.testing.assert_frame_equal(importances(trials, SPACE), importances(trials, SPACE))


def test_a_parameter_that_never_varied_has_no_importance(tmp_path: Path) -> None:
    trials = load(steps_matter(tmp_path)).trials
    linear = trials[trials["teacher.schedule"] != "step"]
    table = importances(linear, SPACE).set_index("parameter")["importance"]
    assert table["teacher.schedule"] == 0


def test_importance_is_not_given_from_too_few_trials_and_the_report_says_so(tmp_path: Path) -> None:
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


def test_stopped_trials_are_in_brackets_and_what_was_not_tried_is_empty(tmp_path: Path) -> None:
    run = search(tmp_path)
    guided(run, 0.25, "linear", 20, 0.0)
    guided(run, 0.05, "linear", 20, 0.2, names.STOPPED)
    assert "| layers | schedule | T | 0 | 0.1 | 0.2 |" in text(run)
    assert "| 1 | linear | 20 | +0.250 |  | (+0.050) |" in text(run)


def test_the_picture_has_a_panel_a_depth_and_type_and_a_number_a_cell(tmp_path: Path) -> None:
    run = search(tmp_path)
    guided(run, 0.25, "linear", 20, 0.0)
    guided(run, 0.05, "linear", 80, 0.2, names.STOPPED)
    linear, step, _bar = draw(gain_cells(load(run).trials), SPACE).axes
    assert [axes.get_title(loc="left") for axes in (linear, step)] == ["1 layer, linear", "1 layer, step"]
    assert {label.get_text(): label.get_position() for label in linear.texts} == {"+.25": (0, 0), "(+.05)": (3, 2)}
    assert not step.texts and not step.patches
    assert [patch.get_hatch() for patch in linear.patches].count("////") == 1


def test_the_best_cell_of_a_depth_is_framed(tmp_path: Path) -> None:
    run = search(tmp_path)
    for gain, steps in ((0.25, 20), (0.3, 40)):
        guided(run, gain, "linear", steps, 0.0)
    guided(run, 0.9, "linear", 60, 0.0, names.STOPPED)
    framed = [patch for patch in draw(gain_cells(load(run).trials), SPACE).axes[0].patches if patch.get_linewidth() > 1]
    assert [patch.get_x() + 0.5 for patch in framed] == [1]


@pytest.mark.parametrize("depths", [1, 3])
def test_every_shape_of_run_can_be_drawn(tmp_path: Path, depths: int) -> None:
    run = realistic_run(tmp_path / "run", tuple(range(1, depths + 1)), trials_per_depth=16)
    figure = draw(gain_cells(load(run).trials), read_space(run))
    figure.savefig(io.BytesIO())
    (legend,) = figure.legends
    assert legend.get_window_extent().x0 >= 0 and legend.get_window_extent().x1 <= figure.bbox.x1


def test_a_search_that_has_not_finished_a_trial_says_so_in_every_section(tmp_path: Path) -> None:
    run = search(tmp_path)
    report = text(run)
    assert report.count("No search trial has finished yet.") == 2
    assert report.count("Nothing yet.") == 2
    assert run_command(str(run), "--format", "csv").returncode == 0
    assert (run / names.FIGURES_FOLDER / FIGURE).is_file()


def test_the_csv_has_all_four_tables(tmp_path: Path) -> None:
    run = steps_matter(tmp_path)
    table = pd.read_csv(io.StringIO(as_csv(load(run).trials, SPACE)))
    assert dict(table["table"].value_counts()) == {"gain": 24, "effect": 9, "importance": 3, "best": 1}
    assert table.loc[table["table"] == "best", "gain"].item() == pytest.approx(0.8023)


def test_the_terminal_does_not_cut_a_number_short(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run", layers=(1,), trials_per_depth=16)
    stream = io.StringIO()
    print_sections(sections(load(run).trials, read_space(run)), Console(file=stream, width=80))
    assert "…" not in stream.getvalue()


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
