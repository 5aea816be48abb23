"""Effects of the settings of a schedule in a search: mean gain by value, and importance."""

import math
from pathlib import Path

import pandas as pd
import pytest
from searches import SPACE, guided, search, steps_matter

from analysis.results import load
from analysis.tables.schedule_effects import importances, marginals
from trainable import names


def row(table: pd.DataFrame, parameter: str, value: object) -> pd.Series:
    (found,) = [one for _, one in table.iterrows() if (one["parameter"], one["value"]) == (parameter, value)]
    return found


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
