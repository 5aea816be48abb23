"""Gains over steps, and differences between controls."""

import shutil
from pathlib import Path

import pytest
from arm_trials import study, trial_rows
from comparisons import LINEAR, NONE, comparison, name_arm
from synthetic_run import add_trial

from analysis.columns import ARM
from analysis.results import load
from analysis.tables.arm_lines import MEAN, UNITS
from analysis.tables.differences import PANEL_NAME, between_controls, gain_lines
from trainable import names


def test_gain_is_over_the_control_of_the_same_seed_and_the_control_is_a_line_at_zero(tmp_path: Path) -> None:
    lines = gain_lines(load(comparison(tmp_path / "run"))).set_index([ARM, names.STEP])
    assert lines.loc["linear 588", MEAN].round(6).tolist() == [0, -0.2, 0.2]
    assert (lines.loc["none", MEAN] == 0).all()
    assert (lines[UNITS] == 3).all()


def test_a_guided_trial_without_its_control_has_no_gain(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run")
    shutil.rmtree(run / names.TRIALS_FOLDER / "none-L1-s1")
    lines = gain_lines(load(run))
    assert (lines[UNITS] == 2).all()


def test_controls_of_two_depths_are_compared_over_the_seeds_that_both_have() -> None:
    shallow = [trial_rows("none", unit, offset) for unit, offset in enumerate((0.0, 0.1, 5.0))]
    deep = [trial_rows("none", unit, offset, **{"model.layers": 2}) for unit, offset in enumerate((-0.5, -0.4))]
    lines = between_controls(study(*shallow, *deep))
    assert set(lines[PANEL_NAME]) == {"2 layers rather than 1 layer"}
    assert lines[MEAN].to_numpy() == pytest.approx(0.5)
    assert (lines[UNITS] == 2).all()


def test_where_learning_rates_are_tuned_each_arm_and_its_control_are_at_their_best_rate(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    worse = {step: loss + 0.5 for step, loss in LINEAR.items()}
    other = {"teacher__schedule": "linear", "teacher__steps": 91, "optimizer__lr": 0.5}
    name_arm(run, add_trial(run, names.ARM, worse, control=NONE, **other), "linear 588")
    ends = gain_lines(load(run)).query("step == 120").set_index("role")
    assert ends[MEAN].round(6).to_dict() == {names.CONTROL: 0, names.ARM: 0.2}
