"""Ranking, confirmations, cost and time of a step, against numbers worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_run import add_trial, spec, write_run

from analysis.results import load
from analysis.tables.best import (
    at_edge,
    best,
    cost,
    grid_points,
    step_time,
    stopped,
)
from trainable import names
from trainable.record.ledger import append_row, read_lines

CONTROL = {0: 8.0, 60: 6.0, 120: 5.0}
LINEAR = {"teacher__schedule": "linear", "teacher__steps": 60}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "run")
    for seed in range(4):
        add_trial(folder, names.CONTROL, CONTROL, seed=seed)
    return folder


def guided(run: Path, gain: float, role: str = names.SEARCH, until: int = 120, **settings: object) -> str:
    """Add a trial whose loss is `gain` below that of the control at every step but the first."""
    losses = {step: loss - (gain if step else 0) for step, loss in CONTROL.items() if step <= until}
    return add_trial(run, role, losses, control=CONTROL, **LINEAR | settings)


def test_the_best_schedule_is_the_finished_one_with_the_largest_gain(run: Path) -> None:
    guided(run, 0.1)
    winner = guided(run, 0.2, teacher__min_weight=0.05)
    guided(run, 0.9, teacher__min_weight=0.1, until=60, state=names.STOPPED)
    guided(run, 0.8, teacher__min_weight=0.2, state=names.FAILED)
    table = best(load(run).trials)
    assert table["trial"].iloc[0] == winner
    assert list(table["gain"]) == pytest.approx([0.2, 0.1])
    assert list(table["rank"]) == [1, 2]


def test_ranks_are_within_a_depth(run: Path) -> None:
    add_trial(run, names.CONTROL, CONTROL, model__layers=2)
    guided(run, 0.3)
    guided(run, 0.1, model__layers=2)
    table = best(load(run).trials)
    assert list(table["model.layers"]) == [1, 2]
    assert list(table["rank"]) == [1, 1]


def test_top_limits_the_schedules_of_each_depth(run: Path) -> None:
    for floor in (0.0, 0.1, 0.2):
        guided(run, floor, teacher__min_weight=floor)
    assert len(best(load(run).trials, top=2)) == 2


def test_a_gain_that_is_not_a_number_cannot_win(run: Path) -> None:
    guided(run, math.nan)
    winner = guided(run, -0.1, teacher__min_weight=0.05)
    assert list(best(load(run).trials)["trial"]) == [winner]


def test_the_confirmed_gain_has_mean_sd_and_interval_over_confirmations_alone(run: Path) -> None:
    guided(run, 0.9)
    for seed, gain in ((1, 0.1), (2, 0.2), (3, 0.3)):
        guided(run, gain, names.CONFIRM, seed=seed)
    row = best(load(run).trials).iloc[0]
    assert row["gain"] == pytest.approx(0.9)
    assert row["confirmed_gain"] == pytest.approx(0.2)
    assert row["confirmed_sd"] == pytest.approx(0.1)
    assert row["confirmed_n"] == 3
    assert row["confirmed_low"] == pytest.approx(0.2 - 4.302653 * 0.1 / math.sqrt(3))
    assert row["confirmed_high"] == pytest.approx(0.2 + 4.302653 * 0.1 / math.sqrt(3))


def test_confirmations_of_another_schedule_or_unfinished_ones_do_not_count(run: Path) -> None:
    guided(run, 0.3)
    guided(run, 0.1, names.CONFIRM, seed=1)
    guided(run, 0.7, names.CONFIRM, seed=2, until=60, state=names.RUNNING)
    guided(run, 0.8, names.CONFIRM, seed=3, teacher__min_weight=0.05)
    row = best(load(run).trials).iloc[0]
    assert row["confirmed_n"] == 1
    assert row["confirmed_gain"] == pytest.approx(0.1)
    assert np.isnan(row["confirmed_sd"])


def test_confirmed_steps_saved_are_given_only_if_every_seed_reached_its_control(run: Path) -> None:
    guided(run, 0.5)
    guided(run, 0.5, names.CONFIRM, seed=1)  # 5.5 at step 60, 4.5 at 120: 5.0 at step 90
    row = best(load(run).trials).iloc[0]
    assert (row["steps_saved"], row["confirmed_steps_saved"]) == pytest.approx((30, 30))
    guided(run, -0.5, names.CONFIRM, seed=2)
    assert np.isnan(best(load(run).trials).iloc[0]["confirmed_steps_saved"])


def test_stopped_trials_are_listed_with_their_step_and_gain(run: Path) -> None:
    guided(run, 0.3)
    name = guided(run, -0.1, teacher__min_weight=0.2, until=60, state=names.STOPPED)
    table = stopped(load(run).trials)
    assert list(table["trial"]) == [name]
    assert table["step"].iloc[0] == 60
    assert table["gain"].iloc[0] == pytest.approx(-0.1)


def test_cost_counts_steps_by_role_against_the_same_trials_run_to_the_end(run: Path) -> None:
    guided(run, 0.3)
    guided(run, 0.1, teacher__min_weight=0.2, until=60, state=names.STOPPED)
    guided(run, 0.3, names.CONFIRM, seed=1)
    table = cost(load(run).trials)
    assert list(table.index) == ["control", "search", "confirm", "total"]
    assert list(table["trials"]) == [4, 2, 1, 7]
    assert list(table["trial_steps"]) == [480, 180, 120, 780]
    assert list(table["full_trial_steps"]) == [480, 240, 120, 840]
    assert table.loc["total", "train_seconds"] == pytest.approx(78.0)


def test_the_full_grid_is_the_number_of_schedules_times_the_number_of_depths() -> None:
    assert grid_points(spec()["layers"], spec()["space"]) == 4 * 4 * 5 * 2
    assert grid_points([1, 2], {"teacher.steps": [20, 80], "teacher.schedule": ["step"]}) == 2 * 2


def set_train_seconds(run: Path, name: str, seconds: dict[int, float]) -> None:
    """Write the training seconds at each step into the ledger of a trial."""
    path = run / names.TRIALS_FOLDER / name / names.LEDGER_FILE
    rows = read_lines(path)
    path.unlink()
    for row in rows:
        append_row(path, row | {names.TRAIN_SECONDS: seconds[row["step"]]})


def test_step_time_compares_guided_steps_with_the_same_steps_of_the_control(run: Path) -> None:
    name = guided(run, 0.1)  # its teacher ends at step 60
    set_train_seconds(run, name, {0: 0.0, 60: 9.0, 120: 15.0})  # 0.15 s, then 0.1 s; the control 0.1 s throughout
    row = step_time(load(run)).loc[1]
    assert row["plain_seconds"] == pytest.approx(0.1)
    assert row["guided_seconds"] == pytest.approx(0.15)
    assert row["ratio"] == pytest.approx(1.5)


def test_step_time_of_a_teacher_with_a_minimum_weight_above_0_is_over_all_steps_with_its_spread(run: Path) -> None:
    for floor, pace in ((0.1, 0.1), (0.2, 0.12), (0.3, 0.2)):
        guided(run, 0.1, teacher__min_weight=floor, seconds_per_step=pace)
    row = step_time(load(run)).loc[1]
    assert list(row[["ratio", "ratio_low", "ratio_high", "trials"]]) == pytest.approx([1.2, 1.0, 2.0, 3])


def test_a_run_without_guided_trials_gives_empty_tables(run: Path) -> None:
    results = load(run)
    assert best(results.trials).empty
    assert stopped(results.trials).empty
    assert step_time(results).empty
    assert cost(results.trials).loc["search", "trial_steps"] == 0


def test_a_run_without_trials_gives_empty_tables(tmp_path: Path) -> None:
    results = load(write_run(tmp_path / "empty"))
    assert best(results.trials).empty
    assert step_time(results).empty
    assert cost(results.trials).loc["total", "trials"] == 0
    assert isinstance(stopped(results.trials), pd.DataFrame)


def test_settings_of_the_best_schedule_at_an_end_of_their_range_are_named_but_not_a_minimum_weight_of_0() -> None:
    space = {"teacher.schedule": ["linear"], "teacher.steps": [20, 40], "teacher.min_weight": [0.0, 0.1]}
    assert at_edge({"teacher.steps": 40, "teacher.min_weight": 0.1}, space) == ["teacher.steps", "teacher.min_weight"]
    assert at_edge({"teacher.steps": 20, "teacher.min_weight": 0.0}, space) == ["teacher.steps"]
    assert at_edge({"teacher.steps": 30, "teacher.min_weight": 0.05}, space) == []
