"""The replay's rule is Ray's; what it says of known curves can be worked out by hand; the published curves dip."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_run import add_trial, write_run

from analysis.asha_replay import lead_lines, main, render
from analysis.figures.replay_figure import draw
from analysis.results import load
from analysis.tables.replay import Bracket, Curve, Group, grace_periods, groups, lead, play, replay
from trainable import names
from trainable.errors import InputError

ROOT = Path(__file__).parents[1]
K_FOLD = ROOT / "results" / "published" / "k_fold"
STEPS = (30, 60, 90, 120)
EARLY = Curve("early", STEPS, (5.0, 4.8, 4.7, 4.6))  # ahead until 60, and never after
LATE = Curve("late", STEPS, (6.0, 5.0, 4.5, 4.1))
PAIR = Group(1, (EARLY, LATE))


def outcomes(group: Group, grace: int, factor: int = 2, slots: int = 4) -> set[tuple[float, ...]]:
    """All outcomes of 40 orders."""
    return {play(group, grace, factor, slots, [order]) for order in range(40)}


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis.asha_replay", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


# ---- the rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("grace", [10, 30, 70])
def test_the_rule_is_rays_for_any_order_of_reports(grace: int, factor: int) -> None:
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


def test_the_first_at_a_rung_goes_on_and_a_worse_second_does_not() -> None:
    bracket = Bracket(30, 2, 120)
    assert bracket.goes_on("worst", 30, 0.0)
    assert not bracket.goes_on("worse", 30, -0.1)
    assert bracket.goes_on("better", 30, 0.1)


# ---- the replay ------------------------------------------------------------------------------------------------------


def test_judged_at_60_the_late_winner_survives_only_if_it_comes_first() -> None:
    late_first, early_first = (1.0, 1.0, 0.0), (0.75, 0.0, 0.5)
    assert sorted(outcomes(PAIR, 60)) == [pytest.approx(early_first), pytest.approx(late_first)]


def test_judged_after_the_curves_have_crossed_the_winner_always_survives() -> None:
    assert outcomes(PAIR, 90) == {(1.0, 1.0, 0.0), (0.875, 1.0, 0.0)}


def test_one_at_a_time_the_order_of_trials_decides() -> None:
    spent, survives, regret = np.mean([play(PAIR, 60, 4, 1, [order]) for order in range(400)], axis=0)
    assert survives == pytest.approx(0.5, abs=0.1)
    assert regret == pytest.approx(0.5 * (1 - survives))
    assert spent == pytest.approx(1 - 0.25 * (1 - survives))


def test_the_order_of_arrival_is_fixed_by_the_seed() -> None:
    tables = [replay([PAIR], [30, 60], [2, 3], 20, 2, seed) for seed in (0, 0, 1)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])


@pytest.mark.parametrize("slots", [1, 3, 50])
def test_some_trial_always_runs_to_the_end_and_no_more_is_spent_than_all_would(slots: int) -> None:
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


# ---- which trials compete --------------------------------------------------------------------------------------------


def add_depth(run: Path, arms: Mapping[int, dict[int, float]], **options: str) -> None:
    """A control and, by scheduling steps, its guided trials."""
    control = {20: 6.0, 40: 5.0}
    add_trial(run, names.CONTROL, control)
    for steps, losses in arms.items():
        schedule = {"teacher__schedule": "linear", "teacher__steps": steps}
        add_trial(run, names.SEARCH, losses, control=control, **schedule, **options)


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


# ---- the published curves --------------------------------------------------------------------------------------------


def test_published_guided_runs_are_behind_at_30_ahead_90_to_210_behind_at_270_ahead_at_the_end() -> None:
    """DESIGN section 4.5: why ASHA must not judge while the teacher is on."""
    gain = lead(load(K_FOLD)).set_index("step")
    ahead, folds = gain["ahead"], gain["trials"]
    assert (ahead[30], folds[30]) == (0, 5)
    assert (ahead[90:210] == 5).all()
    assert gain["gain"][270] < 0 and ahead[270] == 1
    assert (ahead[360:] == 5).all()
    assert gain["gain"][570] == pytest.approx(0.0338, abs=5e-5)


def test_published_curves_are_ahead_and_behind_on_average_in_four_stretches() -> None:
    assert list(lead_lines(load(K_FOLD))) == [
        "at step 30 behind by 0.1131",
        "at steps 60 to 240 ahead by 0.0434",
        "at step 270 behind by 0.0038",
        "at steps 300 to 570 ahead by 0.0268",
    ]


def test_on_the_published_curves_asha_at_step_30_loses_half_the_winners_and_at_360_none() -> None:
    found = groups(load(K_FOLD), controls=True)
    table = replay(found, [30, 90, 270, 360], [3], 200, 4, 0).set_index("grace")
    assert table.loc[30, "survives"] == pytest.approx(0.5, abs=0.05)
    assert table.loc[360, "survives"] == 1
    assert table.loc[360, "spent"] < 1
    assert table.loc[90, "survives"] == table.loc[270, "survives"] < 0.7  # its second rung, 270, undoes the first


def test_the_start_counts_for_nobody_and_trials_that_were_stopped_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    add_depth(run, {10: {20: 5.9, 40: 4.9}, 20: {20: 6.0, 40: 4.8}})
    add_depth(run, {30: {20: 6.2}}, state=names.STOPPED)
    assert list(lead(load(run))["step"]) == [20, 40]
    main((run,), orders=2)
    assert "1 trials were stopped and are left out" in capsys.readouterr().err
    assert (run / "figures" / "asha_replay.png").is_file()


# ---- what is shown ---------------------------------------------------------------------------------------------------


def test_the_three_forms_of_the_table_have_the_same_rows() -> None:
    table = replay([PAIR], [90], [2, 3], 5, 4, 0)
    text, csv, markdown = (render(table, form) for form in ("text", "csv", "markdown"))
    assert [len(shown.splitlines()) for shown in (text, csv, markdown)] == [3, 3, 4]
    assert markdown.splitlines()[2].startswith("| 1 | 90 | 2 | 1 | 2 |")
    assert csv.splitlines()[0] == "model.layers,grace,factor,groups,trials,spent,survives,regret"


def test_the_figure_has_a_column_a_depth_and_marks_the_end_of_the_longest_schedule() -> None:
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
def test_options_that_cannot_be_are_told_in_a_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        main((K_FOLD,), **options)


def test_the_command_says_in_one_sentence_that_a_folder_is_not_a_run() -> None:
    done = run_command("nowhere")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nowhere is not a run folder" in done.stderr


def test_the_replay_imports_neither_ray_nor_torch() -> None:
    code = "import sys, analysis.asha_replay; assert not {'ray', 'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
