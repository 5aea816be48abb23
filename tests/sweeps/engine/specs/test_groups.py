"""A group's trials: names, halves of the validation text, controls, one more rate, and a confirmation's length."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sweep_specs import STEPS, small_arms, small_sweep

from sweeps.engine.specs.groups import Group, at_length
from sweeps.engine.specs.space import Range, levels, points
from trainable import names
from trainable.config import TrialConfig, flatten, override
from trainable.plan import TrialPlan, data_key, table_key

LINEAR = {"teacher.schedule": "linear", "teacher.steps": 10, "optimizer.lr": 0.001}


def groups(layers: int = 1, **changes: Any) -> list[Group]:
    """The groups of control, uniform and bigram at one depth."""
    return list(small_sweep(layers=(layers,), **changes).groups)


def differences(one: TrialConfig, other: TrialConfig) -> set[str]:
    ours, theirs = flatten(one), flatten(other)
    return {key for key in ours if ours[key] != theirs[key]}


# ---- searched trials -----------------------------------------------------------------------------------------------


def test_searched_trial_has_the_arms_settings_the_choosing_half_and_the_depths_reference_as_control() -> None:
    _, uniform, _ = groups(2)
    plan = uniform.search_plan(LINEAR)
    assert (plan.name, plan.arm) == ("uniform-linear-T10-min0-lr0.001-L2-s0", "uniform")
    assert (plan.role, plan.control) == (names.SEARCH, "control-lr0.003-wu10-L2-s0")
    expected = {**LINEAR, "teacher.kind": "uniform", "corpus.eval_half": "choosing", "model.layers": 2}
    assert plan.config == override(small_sweep().base, expected)


def test_reference_is_the_setting_of_the_controls_space_that_is_nearest_to_the_base() -> None:
    control, _, bigram = groups()
    assert control.reference == bigram.reference == {"optimizer.lr": 0.003, "optimizer.warmup_steps": 10}
    plan = control.search_plan(control.reference)
    assert (plan.role, plan.control) == (names.CONTROL, plan.name)
    assert plan.name == control.reference_name == "control-lr0.003-wu10-L1-s0"
    other, _, _ = groups(base={"optimizer.lr": 0.0012, "optimizer.warmup_steps": 6})
    assert other.reference == {"optimizer.lr": 0.001, "optimizer.warmup_steps": 5}


def test_reference_of_a_short_search_is_nearest_to_the_base_at_the_length_of_the_search() -> None:
    """A warm-up of 10 steps in a run of 40 becomes 5 steps in a search of 20."""
    control, _, _ = groups(search_steps=20, asha=None)
    assert control.reference == {"optimizer.lr": 0.003, "optimizer.warmup_steps": 5}


def test_other_settings_of_the_control_are_searched_trials() -> None:
    control, _, _ = groups()
    roles = [control.search_plan(point).role for point in points(control.arm.space)]
    assert sorted(roles) == [names.CONTROL] + [names.SEARCH] * 5


def test_searched_trials_of_all_groups_have_different_names() -> None:
    found = [group.search_plan(point).name for group in small_sweep().groups for point in points(group.arm.space)]
    assert len(set(found)) == len(found) == 2 * (6 + 12 + 12)


def test_arms_without_a_teacher_have_the_default_teacher_settings() -> None:
    sweep = small_sweep({"teacher.smoothing": "witten_bell"})
    control, _, bigram = sweep.groups[:3]
    assert control.search_plan(control.reference).config.teacher.smoothing == "mle"
    assert bigram.search_plan(LINEAR).config.teacher.smoothing == "witten_bell"


def test_the_setting_of_a_trial_is_read_back_from_its_config() -> None:
    for group in groups():
        for point in points(group.arm.space):
            assert group.parameters(group.search_plan(point)) == point


def test_plan_round_trips_through_json() -> None:
    plan = groups()[1].search_plan(LINEAR)
    assert TrialPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_a_trial_and_its_control_read_the_same_blocks_and_each_smoothing_has_its_own_table() -> None:
    control, _, bigram = groups()
    guided = bigram.search_plan(LINEAR).config
    assert data_key(guided) == data_key(control.search_plan(control.reference).config)
    assert data_key(guided) != data_key(override(guided, {"corpus.train_rows": 5}))
    assert table_key(guided) == table_key(override(guided, {"teacher.steps": 10, "model.layers": 1, "seed": 9}))
    assert table_key(guided) != table_key(override(guided, {"teacher.smoothing": "witten_bell"}))
    assert table_key(guided) != table_key(override(guided, {"teacher.rows": "all"}))


def test_schedules_of_a_group_end_at_the_steps_that_it_searches_or_fixes() -> None:
    control, _, bigram = groups()
    assert (control.schedule_ends, bigram.schedule_ends) == ([0], [10, 20])
    arm = replace(bigram.arm, space={"optimizer.lr": bigram.arm.space["optimizer.lr"]})
    fixed = replace(arm, changes={"teacher.schedule": "linear", "teacher.steps": 30})
    assert replace(bigram, arm=fixed).schedule_ends == [30]


# ---- confirmations ------------------------------------------------------------------------------------------------


def test_confirmation_is_the_winner_on_a_fresh_seed_and_the_reporting_half() -> None:
    control, _, bigram = groups()
    winner = bigram.search_plan(LINEAR)
    own = control.confirmation_plan(control.search_plan(control.reference), 1, None)
    confirmation = bigram.confirmation_plan(winner, 1, own)
    assert confirmation.name == "bigram-linear-T10-min0-lr0.001-L1-s1"
    assert (confirmation.role, confirmation.control, confirmation.arm) == (names.CONFIRM, own.name, "bigram")
    assert confirmation.config == override(winner.config, {"seed": 1, "corpus.eval_half": "reporting"})
    assert (own.role, own.control, own.arm) == (names.CONTROL, "control-lr0.003-wu10-L1-s1", "control")
    assert own.config.corpus.eval_half == "reporting"


def test_confirmation_of_a_short_search_has_warm_up_and_schedule_in_proportion() -> None:
    """The search has a quarter of the steps: warm-up 3 becomes 12, T 4 becomes 16, tau 2.5 becomes 10."""
    arms = small_arms(teacher__steps=levels([4]), teacher__tau=levels([2.5]), optimizer__warmup_steps=levels([3]))
    control, _, bigram = groups(search_steps=10, asha=None, arms=arms)
    point = points(bigram.arm.space)[1]
    winner = bigram.search_plan({**point, "teacher.schedule": "exponential"})
    assert (winner.config.loop.steps, winner.config.teacher.steps, winner.config.teacher.tau) == (10, 4, 2.5)
    assert winner.config.optimizer.warmup_steps == 3
    confirmation = bigram.confirmation_plan(winner, 1, control.search_plan(control.reference)).config
    assert (confirmation.loop.steps, confirmation.teacher.steps, confirmation.teacher.tau) == (STEPS, 16, 10.0)
    assert confirmation.optimizer.warmup_steps == 12
    assert differences(winner.config, confirmation) == {
        *("seed", "corpus.eval_half", "loop.steps", "teacher.steps", "teacher.tau", "optimizer.warmup_steps")
    }


def test_confirmation_has_the_evaluations_and_checkpoints_of_the_base_however_short_the_search() -> None:
    short = small_arms(teacher__steps=levels([5]))
    arms = (replace(short[0], space={**short[0].space, "optimizer.warmup_steps": levels([1, 2])}), *short[1:])
    control, _, bigram = groups(search_steps=5, asha=None, arms=arms)
    confirmation = control.confirmation_plan(control.search_plan(control.reference), 1, None)
    assert confirmation.config.loop == small_sweep().base.loop
    assert bigram.search_plan({**LINEAR, "teacher.steps": 5}).config.loop.eval_every == 5


def test_warm_up_of_the_teachers_arms_keeps_its_share_in_a_short_search() -> None:
    """The teachers' arms take the base's warm-up: 10 of 40 steps become 5 of 20 in the search."""
    _, _, bigram = groups(search_steps=20, asha=None)
    winner = bigram.search_plan(LINEAR)
    assert winner.config.optimizer.warmup_steps == 5
    assert bigram.confirmation_plan(winner, 1, winner).config.optimizer.warmup_steps == 10


@pytest.mark.parametrize(("steps", "warm_up", "every", "kept"), [(20, 5, 10, 20), (80, 20, 10, 20), (7, 2, 7, 7)])
def test_config_of_another_length(steps: int, warm_up: int, every: int, kept: int) -> None:
    base = override(small_sweep().base, {"loop.checkpoint_every": 20})
    config = at_length(base, steps)
    assert (config.loop.steps, config.optimizer.warmup_steps) == (steps, warm_up)
    assert (config.loop.eval_every, config.loop.checkpoint_every) == (every, kept)
    assert at_length(base, STEPS) is base


# ---- one more rate -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "beyond"),
    [
        ([0.001, 0.003, 0.009], (0.0003333, 0.027)),  # by the ratio of the two nearest rates
        ([0.002, 0.004, 0.006], (0.001, 0.009)),
        ([0.002, 0.004, 0.008], (0.001, 0.016)),
    ],
)
def test_next_rate_keeps_the_ratio_of_the_two_nearest_rates(rates: list[float], beyond: tuple[float, float]) -> None:
    _, _, bigram = groups(arms=small_arms(optimizer__lr=levels(rates)))
    assert bigram.next_rates == beyond


def test_a_single_rate_has_no_next_rate() -> None:
    _, _, bigram = groups(arms=small_arms(optimizer__lr=levels([0.003])))
    assert bigram.next_rates is None
    assert bigram.beyond(bigram.search_plan({**LINEAR, "optimizer.lr": 0.003})) == []


@pytest.mark.parametrize(("best", "more"), [(0.001, 0.0003333), (0.003, None), (0.009, 0.027)])
def test_winner_at_the_lowest_or_highest_rate_gets_one_more_rate_and_a_winner_between_gets_none(
    best: float, more: float | None
) -> None:
    control, _, bigram = groups()
    points_beyond = bigram.beyond(bigram.search_plan({**LINEAR, "optimizer.lr": best}))
    others = [(schedule, steps) for schedule in ("linear", "exponential") for steps in (10, 20)]
    assert [(p["teacher.schedule"], p["teacher.steps"]) for p in points_beyond] == (others if more else [])
    assert {p["optimizer.lr"] for p in points_beyond} == ({more} if more else set())
    of_control = control.beyond(control.search_plan({"optimizer.lr": best, "optimizer.warmup_steps": 5}))
    assert [p["optimizer.warmup_steps"] for p in of_control] == ([5, 10] if more else [])


def test_names_that_a_group_can_have_include_one_more_rate_and_every_confirmation() -> None:
    arms = small_arms((1, 2), teacher__steps=Range(10, 10, 10))
    _, _, bigram = groups(arms=arms)
    found = set(bigram.trial_names())
    assert len(found) == 2 * 5 * 3  # 2 schedules; 5 rates, one more at each end; 3 seeds
    assert {f"bigram-linear-T10-min0-lr0.027-L1-s{seed}" for seed in range(3)} < found


def test_group_can_have_a_trial_of_each_of_its_names_and_of_no_other() -> None:
    arms = small_arms((1, 2), teacher__min_weight=Range(0, 0.2, 0.1))
    # trials of a search of 20 steps; confirmations of 40 have other scheduling steps
    _, uniform, bigram = groups(arms=arms, search_steps=20, asha=None)
    names = set(bigram.trial_names())
    assert all(map(bigram.can_have, names)) and not any(map(uniform.can_have, names))
    assert "bigram-linear-T20-min0.1-lr0.003-L1-s1" in names
    for part, other in (("linear", "step"), ("T20", "T21"), ("min0.1", "min0.3"), ("lr0.003", "lr0.004"), ("s1", "s3")):
        assert not bigram.can_have("bigram-linear-T20-min0.1-lr0.003-L1-s1".replace(part, other)), other
