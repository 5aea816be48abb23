"""Comparison of arms: gains within a unit, each arm at its own best setting, and intervals over units."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.results import Results
from analysis.tables.arms import compare_arms, pair
from analysis.tables.statistics import nadeau_bengio, student_interval
from trainable import names

ARMS = ["none", "linear", "step"]


def results_of(rows: list[dict[str, Any]]) -> Results:
    """Make trials with the given arm, loss and settings; each curve is a straight line from 9 over 100 steps."""
    defaults = {"state": names.FINISHED, "model.layers": 1, "loop.steps": 100, "corpus.eval_rows": 50.0, "seed": 0}
    folds = {"corpus.folds": np.nan, "corpus.fold": 0, "corpus.train_rows": 200.0, "optimizer.lr": 1e-3}
    trials = pd.DataFrame([{**defaults, **folds, **row} for row in rows])
    trials["trial"] = [f"t{i}" for i in range(len(trials))]
    trials["role"] = np.where(trials["arm"] == "none", names.CONTROL, names.ARM)
    trials = trials.assign(step=100, train_seconds=10.0)
    steps = np.array([0, 50, 100])
    curves = pd.concat(
        pd.DataFrame(
            {
                "trial": row["trial"],
                "step": steps,
                "eval_loss": 9 + (row["eval_loss"] - 9) * steps / 100,
                "train_seconds": steps / 10,
            }
        )
        for _, row in trials.iterrows()
    )
    return Results(trials, curves)


def seeds(arm: str, losses: list[float], **settings: Any) -> list[dict[str, Any]]:
    return [{"arm": arm, "eval_loss": loss, "seed": seed, **settings} for seed, loss in enumerate(losses)]


def test_gain_is_the_controls_loss_minus_the_arms_loss_in_the_same_unit() -> None:
    results = results_of(seeds("none", [5.0, 7.0, 6.0]) + seeds("linear", [4.9, 6.7, 5.8]))
    row = compare_arms(results, ARMS).iloc[1]
    assert row["arm"] == "linear" and row["n"] == 3
    assert row["gain"] == pytest.approx(0.2) and row["gain_sd"] == pytest.approx(0.1)
    assert (row["gain_low"], row["gain_high"]) == pytest.approx(student_interval([0.1, 0.3, 0.2]))


def test_steps_and_seconds_are_saved_only_if_every_unit_reaches_its_controls_final_loss() -> None:
    saved = ["steps_saved", "seconds_saved"]
    reached = results_of(seeds("none", [5.0]) + seeds("linear", [1.0]))
    assert list(compare_arms(reached, ARMS).iloc[1][saved]) == pytest.approx([50, 5])  # 9 - 8 t / 100 = 5 at t = 50
    one_did_not = results_of(seeds("none", [5.0, 5.0]) + seeds("linear", [1.0, 6.0]))
    assert compare_arms(one_did_not, ARMS).iloc[1][saved].isna().all()


def test_each_arm_and_the_control_take_their_own_best_setting() -> None:
    """An arm gains 0.1 over the tuned control; over the untuned control it would gain 0.6."""
    results = results_of(
        seeds("none", [6.0, 6.0], **{"optimizer.lr": 1e-3})
        + seeds("none", [5.6, 5.4], **{"optimizer.lr": 3e-3})
        + seeds("linear", [5.5, 5.3], **{"optimizer.lr": 1e-3})
        + seeds("linear", [5.2, 8.0], **{"optimizer.lr": 3e-3})
    )
    compared = compare_arms(results, ARMS, "optimizer.lr")
    assert list(compared["optimizer.lr"]) == [3e-3, 1e-3]
    assert compared.iloc[1]["gain"] == pytest.approx(0.1)


def test_a_setting_that_lacks_a_unit_is_not_taken_as_the_best() -> None:
    results = results_of(
        seeds("none", [5.0, 5.0]) + seeds("linear", [4.9, 4.9]) + seeds("linear", [4.0], **{"optimizer.lr": 3e-3})
    )
    assert compare_arms(results, ARMS, "optimizer.lr").iloc[1]["optimizer.lr"] == 1e-3


def test_settings_are_compared_over_the_units_that_they_share() -> None:
    """A learning rate does not win only because it lacks the hard seed 0, which makes its mean lower."""
    hard, easy = {"seed": 0, "eval_loss": 9.0}, {"seed": 1, "eval_loss": 4.0}
    low, high = {"arm": "linear", "optimizer.lr": 1e-3}, {"arm": "linear", "optimizer.lr": 3e-3}
    rows = [low | hard, low | easy, high | easy | {"eval_loss": 4.5}, high | {"seed": 2, "eval_loss": 4.5}]
    compared = compare_arms(results_of(seeds("none", [9.5, 5.0, 5.0]) + rows), ARMS, "optimizer.lr")
    assert compared.iloc[1]["optimizer.lr"] == 1e-3


def test_the_controls_mean_is_over_the_units_of_the_arm_and_both_rows_give_the_planned_number() -> None:
    compared = compare_arms(results_of(seeds("none", [5.0, 5.2, 9.0]) + seeds("linear", [4.9, 5.0])), ARMS)
    control, arm = compared.to_dict("records")
    assert control["eval_loss"] - arm["eval_loss"] == pytest.approx(arm["gain"]) == pytest.approx(0.15)
    assert (control["n"], control["planned"], arm["n"], arm["planned"]) == (2, 3, 2, 3)


def test_folds_have_the_corrected_interval_with_seeds_averaged_within_them() -> None:
    losses = [4.9, 4.7, 4.8, 4.75, 4.85]
    rows = [
        {"arm": arm, "eval_loss": loss, "seed": seed, "corpus.folds": 5.0, "corpus.fold": fold}
        for seed in (0, 1)
        for fold, base in enumerate(losses)
        for arm, loss in (("none", 5.0), ("linear", base + 0.01 * seed))
    ]
    row = compare_arms(results_of(rows), ARMS).iloc[1]
    expected = nadeau_bengio([5.0 - loss - 0.005 for loss in losses], 50 / 200)
    assert (row["gain_low"], row["gain_high"]) == pytest.approx((expected.low, expected.high))
    assert row["n"] == 10


def test_groups_are_compared_within_themselves_and_in_the_order_of_the_arms() -> None:
    results = results_of(
        seeds("step", [4.0])
        + seeds("none", [5.0])
        + seeds("none", [3.0], **{"model.layers": 2})
        + seeds("linear", [2.9], **{"model.layers": 2})
        + seeds("linear", [4.5])
    )
    compared = compare_arms(results, ARMS)
    assert list(zip(compared["model.layers"], compared["arm"], strict=True)) == [
        (1, "none"),
        (1, "linear"),
        (1, "step"),
        (2, "none"),
        (2, "linear"),
    ]
    assert list(compared["gain"].round(6)) == [0, 0.5, 1.0, 0, 0.1]


def test_trials_that_failed_or_lost_their_control_are_left_out() -> None:
    rows = seeds("none", [5.0, 5.0]) + seeds("linear", [4.0, 4.0])
    rows[1]["state"] = names.FAILED
    assert list(pair(results_of(rows))["seed"]) == [0, 0]


def test_run_without_a_finished_trial_has_no_arms() -> None:
    assert compare_arms(results_of([{"arm": "none", "eval_loss": 5.0, "state": names.RUNNING}]), ARMS).empty


def test_settings_of_a_run_without_a_teacher_are_arms_of_their_own_and_not_units() -> None:
    rates = [{"arm": "none", "eval_loss": 5.0 + rate, "optimizer.lr": rate} for rate in (0.1, 0.2, 0.4)]
    compared = compare_arms(results_of(rates), ["none"])
    assert list(compared["arm"]) == ["none, lr 0.1", "none, lr 0.2", "none, lr 0.4"]
    assert list(compared["n"]) == list(compared["planned"]) == [1, 1, 1]
    assert list(compared["gain"]) == [0, 0, 0] and compared[["gain_low", "eval_loss_sd"]].isna().all(axis=None)
    twice = [row | {"seed": seed} for row in rates for seed in (0, 1)]
    assert list(compare_arms(results_of(twice), ["none"])["n"]) == [2, 2, 2]
    beside = compare_arms(results_of([*rates, *seeds("linear", [4.9])]), ARMS)
    assert list(beside["arm"]) == ["none", "linear"]  # with a guided arm the control stays one arm
