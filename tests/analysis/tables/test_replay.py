"""Replay of ASHA: its rule equals that of Ray; results on known curves, worked out by hand; the published curves."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from paths import ROOT
from replay_curves import EARLY, LATE, PAIR, STEPS, add_depth
from synthetic_groups import groups_run
from synthetic_run import write_run

from analysis.results import load
from analysis.tables.replay import Bracket, Curve, Group, grace_periods, groups, lead, play, replay
from trainable import names

K_FOLD = ROOT / "results" / "published" / "k_fold"


def outcomes(group: Group, grace: int, factor: int = 2, slots: int = 4) -> set[tuple[float, ...]]:
    """Return the different outcomes of 40 orders of arrival."""
    return {play(group, grace, factor, slots, [order]) for order in range(40)}


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("grace", [10, 30, 70])
def test_the_rule_equals_that_of_ray_for_any_order_of_reports(grace: int, factor: int) -> None:
    bracket_of_ray = pytest.importorskip("ray.tune.schedulers.async_hyperband")._Bracket
    for seed in range(20):
        rng = np.random.default_rng(seed)
        ours = Bracket(grace, factor, 300)
        rays = bracket_of_ray(grace, 300, factor, 0, stop_last_trials=False)
        alive = dict.fromkeys(range(12), 0)
        while alive:
            trial = int(rng.choice(list(alive)))
            alive[trial] += 10
            reward = float(rng.integers(0, 6))  # ties are common
            decided = rays.on_result(SimpleNamespace(trial_id=str(trial)), alive[trial], reward)
            assert ours.goes_on(str(trial), alive[trial], reward) == (decided == "CONTINUE")
            if decided != "CONTINUE" or alive[trial] >= 300:
                del alive[trial]
        assert ours.rungs == dict(rays._rungs)


def test_the_first_trial_at_a_rung_goes_on_and_a_worse_second_trial_does_not() -> None:
    bracket = Bracket(30, 2, 120)
    assert bracket.goes_on("worst", 30, 0.0)
    assert not bracket.goes_on("worse", 30, -0.1)
    assert bracket.goes_on("better", 30, 0.1)


def test_a_late_winner_that_is_judged_at_step_60_survives_only_if_it_comes_first() -> None:
    late_first, early_first = (1.0, 1.0, 0.0), (0.75, 0.0, 0.5)
    assert sorted(outcomes(PAIR, 60)) == [pytest.approx(early_first), pytest.approx(late_first)]


def test_a_winner_that_is_judged_after_the_curves_have_crossed_always_survives() -> None:
    assert outcomes(PAIR, 90) == {(1.0, 1.0, 0.0), (0.875, 1.0, 0.0)}


def test_with_one_trial_at_a_time_the_order_of_trials_decides() -> None:
    spent, survives, regret = np.mean([play(PAIR, 60, 4, 1, [order]) for order in range(400)], axis=0)
    assert survives == pytest.approx(0.5, abs=0.1)
    assert regret == pytest.approx(0.5 * (1 - survives))
    assert spent == pytest.approx(1 - 0.25 * (1 - survives))


def test_the_order_of_arrival_is_fixed_by_the_seed() -> None:
    tables = [replay([PAIR], [30, 60], [2, 3], 20, 2, seed) for seed in (0, 0, 1)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])


@pytest.mark.parametrize("slots", [1, 3, 50])
def test_some_trial_always_runs_to_the_end_and_the_cost_is_at_most_that_of_all_trials(slots: int) -> None:
    rng = np.random.default_rng(0)
    group = Group(1, tuple(Curve(f"t{i}", STEPS, tuple(rng.random(4))) for i in range(12)))
    for spent, survives, regret in outcomes(group, 30, 2, slots):
        assert 0 < spent <= 1 and survives in (0.0, 1.0) and regret >= 0
        assert (regret == 0) == (survives == 1)


def test_a_grace_period_between_evaluations_judges_at_the_next_one() -> None:
    assert outcomes(PAIR, 80) == outcomes(PAIR, 90)


def test_the_table_has_a_row_for_each_depth_grace_period_and_factor() -> None:
    table = replay([PAIR, PAIR, Group(2, (EARLY, LATE))], [30, 90, 120], [2, 4], 5, 2, 0)
    keys = list(table[["model.layers", "grace", "factor"]].itertuples(index=False, name=None))
    assert keys == [(layers, grace, factor) for layers in (1, 2) for grace in (30, 90) for factor in (2, 4)]
    assert list(table["groups"]) == [2] * 4 + [1] * 4
    assert grace_periods([PAIR]) == [30, 60, 90]


def test_trials_that_share_a_control_and_ran_in_full_compete(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    add_depth(run, {10: {20: 5.9, 40: 4.9}, 20: {20: 6.1, 40: 4.8}, 30: {20: 5.0}})
    (group,) = groups(load(run))
    assert [curve.losses for curve in group.curves] == [(5.9, 4.9), (6.1, 4.8)]
    assert len(groups(load(run), controls=True)[0].curves) == 3


def test_trials_that_were_stopped_do_not_compete(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    add_depth(run, {10: {20: 5.9, 40: 4.9}, 20: {20: 6.1, 40: 4.8}}, state=names.STOPPED)
    assert groups(load(run)) == []


def test_published_guided_runs_are_behind_at_30_ahead_90_to_210_behind_at_270_ahead_at_the_end() -> None:
    """A guided run may be behind its control early and ahead at the end, so ASHA must not judge it early."""
    gain = lead(load(K_FOLD)).set_index("step")
    ahead, folds = gain["ahead"], gain["trials"]
    assert (ahead[30], folds[30]) == (0, 5)
    assert (ahead[90:210] == 5).all()
    assert gain["gain"][270] < 0 and ahead[270] == 1
    assert (ahead[360:] == 5).all()
    assert gain["gain"][570] == pytest.approx(0.0338, abs=5e-5)


def test_on_the_published_curves_asha_at_step_30_loses_half_the_winners_and_at_360_none() -> None:
    found = groups(load(K_FOLD), controls=True)
    table = replay(found, [30, 90, 270, 360], [3], 200, 4, 0).set_index("grace")
    assert table.loc[30, "survives"] == pytest.approx(0.5, abs=0.05)
    assert table.loc[360, "survives"] == 1
    assert table.loc[360, "spent"] < 1
    assert table.loc[90, "survives"] == table.loc[270, "survives"] < 0.7  # the second rung of 90 is at 270


def test_a_search_in_groups_is_replayed_by_arm_and_each_trial_is_judged_after_its_teachers_end(tmp_path: Path) -> None:
    found = groups(load(groups_run(tmp_path / "run")), by_arm=True)
    assert {group.arm: len(group.curves) for group in found} == {"control": 6, "uniform": 5, "bigram": 5}
    for group in found:
        assert {curve.judged_from for curve in group.curves} == ({0} if group.arm == "control" else {40})
        assert sum(curve.is_spared for curve in group.curves) == (group.arm == "control")
    table = replay(found, [20, 40], [2], 5, 2, 0)
    assert sorted(set(table["arm"])) == ["bigram", "control", "uniform"]


def test_a_trial_is_not_judged_at_rungs_before_its_teachers_end() -> None:
    bracket = Bracket(30, 2, 120)
    assert bracket.goes_on("first", 30, 1.0)
    assert not bracket.goes_on("judged", 30, 0.0)
    assert bracket.goes_on("taught", 30, 0.0, judged_from=40) and "taught" not in bracket.rungs[30]
    assert bracket.goes_on("taught", 60, 0.0, judged_from=40) and "taught" in bracket.rungs[60]
