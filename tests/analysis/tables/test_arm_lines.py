"""Curves by arm: which trials make a line, and what a mean is taken over."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from arm_trials import STEPS, study, trial_rows, two_arms
from paths import ROOT
from synthetic_run import add_trial, realistic_run, spec, write_run

from analysis.plots.looks import arm_looks
from analysis.results import load
from analysis.tables.arm_lines import arm_lines
from trainable import names

PUBLISHED = ROOT / "results" / "published"


def line(lines: pd.DataFrame, arm: str) -> pd.DataFrame:
    return lines[lines["arm"] == arm].set_index("step")


def test_a_line_is_the_mean_over_units_and_its_band_goes_from_lowest_to_highest() -> None:
    end = line(arm_lines(two_arms(), names.EVAL_LOSS), "linear 240").loc[120]
    assert (end["low"], end["mean"], end["high"]) == pytest.approx((5.7, 5.8, 5.9))
    assert end["units"] == 3


def test_training_losses_on_other_steps_than_evaluations_make_a_line_of_their_own() -> None:
    results = two_arms()
    assert list(line(arm_lines(results, names.EVAL_LOSS), "none").index) == list(STEPS)
    assert list(line(arm_lines(results, names.TRAIN_LOSS), "none").index) == [step + 10 for step in STEPS]


def test_arms_of_a_panel_are_means_over_the_units_that_all_of_them_have() -> None:
    """A unit that only the control has does not count in the control's mean."""
    controls = [trial_rows("none", unit, offset) for unit, offset in enumerate((0.0, 0.1, -2.0))]
    guided = [trial_rows("linear 240", unit, offset) for unit, offset in enumerate((-0.3, -0.2))]
    lost = trial_rows("linear 240", 2, -2.3, state=names.FAILED)
    lines = arm_lines(study(*controls, *guided, lost), names.EVAL_LOSS)
    ends = {arm: line(lines, arm).loc[120] for arm in ("none", "linear 240")}
    assert ends["none"]["mean"] - ends["linear 240"]["mean"] == pytest.approx(0.3)
    assert {end["units"] for end in ends.values()} == {2}
    assert {end["note"] for end in ends.values()} == {"2 of 3 units"}


def test_arms_without_a_common_unit_each_show_their_own_units_with_a_note() -> None:
    lines = arm_lines(study(trial_rows("none", 0, 0.0), trial_rows("linear 240", 1, -0.3)), names.EVAL_LOSS)
    assert set(lines["note"]) == {"1 of 2 units"} and set(lines["arm"]) == {"none", "linear 240"}


def test_a_step_that_one_unit_has_not_reported_has_no_mean() -> None:
    cut = trial_rows("none", 1, 5.0, steps=STEPS[:3], state=names.FINISHED)
    lines = arm_lines(study(trial_rows("none", 0, 0.0), cut), names.EVAL_LOSS)
    assert list(lines["step"]) == [0, 20, 40]


def test_an_unfinished_unit_is_left_out_of_a_mean_over_finished_units() -> None:
    for state in (names.RUNNING, names.FAILED, names.STOPPED):
        cut = trial_rows("none", 1, 5.0, steps=STEPS[:3], state=state)
        lines = arm_lines(study(trial_rows("none", 0, 0.0), cut), names.EVAL_LOSS)
        assert line(lines, "none").loc[120, "mean"] == pytest.approx(6.0)
        assert set(lines["units"]) == {1}


def test_losses_that_are_not_finite_do_not_move_a_mean() -> None:
    results = two_arms()
    results.curves.loc[(results.curves["trial"] == results.trials["trial"][1]), "eval_loss"] = np.inf
    assert line(arm_lines(results, names.EVAL_LOSS), "none").loc[120, "units"] == 2


def test_a_teacher_with_a_minimum_weight_above_0_never_ends_and_a_control_has_no_teacher() -> None:
    ends = arm_lines(two_arms(**{"teacher.min_weight": 0.1}), names.EVAL_LOSS).groupby("arm")["teacher_ends"].first()
    assert ends["linear 240"] == math.inf
    assert math.isnan(ends["none"])


def test_folds_that_differ_by_a_step_share_a_panel() -> None:
    folds = [trial_rows("none", 0, 0.1 * n, **{"loop.steps": 587 - n, "corpus.fold": n}) for n in range(2)]
    lines = arm_lines(study(*folds), names.EVAL_LOSS)
    assert set(lines["budget"]) == {587}
    assert set(lines["units"]) == {2}


def test_a_trial_without_a_recorded_budget_has_the_budget_of_its_depth() -> None:
    odd = trial_rows("unknown 588", 0, 0.0, **{"loop.steps": np.nan})
    lines = arm_lines(study(trial_rows("none", 0, 0.0), odd), names.EVAL_LOSS)
    assert set(lines["budget"]) == {120}


def test_a_search_shows_its_winner_and_controls_on_the_seeds_of_the_confirmations(tmp_path: Path) -> None:
    results = load(realistic_run(tmp_path / "run"))
    lines = arm_lines(results, names.EVAL_LOSS)
    assert set(lines["units"]) == {3}
    for layers, here in lines[lines["step"] == 120].groupby("model.layers"):
        confirmed = results.trials[
            (results.trials["role"] == names.CONFIRM) & (results.trials["model.layers"] == layers)
        ]
        loss = here.set_index("role")["mean"]
        assert loss[names.CONTROL] - loss[names.CONFIRM] == pytest.approx(confirmed["gain"].mean())


def test_a_search_without_confirmations_shows_its_three_best_trials_on_the_seed_that_chose_them(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", spec=spec(layers=[1]))
    for seed in (0, 1):
        add_trial(run, names.CONTROL, {0: 8.0, 120: 5.0 + seed}, seed=seed)
    for number in range(5):
        losses, linear = {0: 8.0, 120: 4.0 + number / 10}, {"teacher__schedule": "linear"}
        add_trial(run, names.SEARCH, losses, control={0: 8.0, 120: 5.0}, teacher__steps=20 + 10 * number, **linear)
    lines = arm_lines(load(run), names.EVAL_LOSS)
    assert set(lines["units"]) == {1}
    assert set(lines["arm"]) == {"none", *(f"linear, T = {steps}, min weight 0" for steps in (20, 30, 40))}
    assert "only the seed that chose it" in arm_looks(lines)["linear, T = 20, min weight 0"].legend


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published runs are not kept here")
def test_the_published_folds_end_at_the_published_losses() -> None:
    end = arm_lines(load(PUBLISHED / "k_fold"), names.EVAL_LOSS).query("step == 570").set_index("arm")
    assert set(end["units"]) == {5}
    assert end.loc["none", "mean"] - end.loc["linear 240", "mean"] == pytest.approx(0.0338, abs=5e-5)
