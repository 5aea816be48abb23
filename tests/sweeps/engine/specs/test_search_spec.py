"""The spec of a search: its trials, their cost, a round trip through JSON, contradictions refused with a reason."""

import json
from typing import Any

import pytest
from sweep_specs import CONTROL_SPACE, RATES, STEPS, small_arms, small_sweep

from sweeps.engine.specs.arms import SearchArm
from sweeps.engine.specs.asha_spec import AshaSpec
from sweeps.engine.specs.search import Sweep, expected_steps
from sweeps.engine.specs.space import Choice, Range, Space, levels, points
from trainable.config import override
from trainable.errors import InputError

CONTROL, UNIFORM, BIGRAM = small_arms()
TEACHING = BIGRAM.space
ASHA = AshaSpec(grace_period=20)


def bigram_arm(space: Space = TEACHING, **changes: Any) -> SearchArm:
    return SearchArm(
        **{"name": "bigram", "changes": {"teacher.kind": "bigram"}, "space": space, "seeds": (1,)} | changes
    )


# ---- round trip ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"asha": None, "search": "grid"},
        {"arms": small_arms(())},
        {"search_steps": 20, "asha": AshaSpec(grace_period=10), "extend_rates": True, "margin": 0.1},
        {"arms": (CONTROL, bigram_arm(TEACHING | {"optimizer.lr": levels([0.002])}))},
        {"arms": (CONTROL, bigram_arm(TEACHING | {"optimizer.lr": levels([0.002, 0.004, 0.006])}))},
        {"arms": (CONTROL, bigram_arm(TEACHING | {"teacher.steps": levels([3, 4, 9])}))},
        {"arms": (CONTROL, bigram_arm(seeds=()))},
    ],
)
def test_search_survives_json(changes: dict[str, Any]) -> None:
    """The cases include parameters with evenly spaced values, unevenly spaced values and a single value."""
    sweep = small_sweep(**changes)
    again = Sweep.from_dict(json.loads(json.dumps(sweep.to_dict())))
    assert again == sweep
    assert [points(arm.space) for arm in again.arms] == [points(arm.space) for arm in sweep.arms]


def test_run_json_lists_arms_by_name_and_groups_with_their_values() -> None:
    tree = small_sweep(search_steps=20, asha=None).to_dict()
    assert tree["kind"] == "groups"
    assert tree["arms"] == ["control", "uniform", "bigram"]
    assert tree["groups"][0] == {
        "name": "control",
        "changes": {},
        "space": {"optimizer.lr": [0.001, 0.003, 0.009], "optimizer.warmup_steps": [5, 10]},
        "seeds": [1],
    }
    assert tree["groups"][1]["changes"] == {"teacher.kind": "uniform"}
    assert (tree["confirm_seeds"], tree["search_steps"], tree["margin"], tree["asha"]) == ([1], 20, 0.03, None)


# ---- trials ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "samples", "trials"),
    [
        ({}, [4, 4, 4], 2 * 3 * (4 + 1)),
        ({"num_samples": 8}, [6, 8, 8], 2 * (6 + 8 + 8 + 3)),  # the control has 6 settings
        ({"search": "grid"}, [6, 12, 12], 2 * (6 + 12 + 12 + 3)),
        ({"extend_rates": True}, [4, 4, 4], 2 * (3 * (4 + 1) + 2 + 4 + 4)),  # one more rate adds a third of each space
        ({"arms": small_arms(())}, [4, 4, 4], 2 * 3 * 4),
        ({"arms": (CONTROL, bigram_arm(seeds=()))}, [4, 4], 2 * (4 + 1 + 4)),
    ],
)
def test_every_group_gets_the_same_number_of_trials_or_its_whole_space(
    changes: dict[str, Any], samples: list[int], trials: int
) -> None:
    sweep = small_sweep(**changes)
    assert [sweep.samples(arm) for arm in sweep.arms] == samples
    assert sweep.trials == trials


def test_there_is_a_group_for_each_depth_of_each_arm_and_the_control_comes_first() -> None:
    keys = [(layers, arm) for layers in (1, 2) for arm in ("control", "uniform", "bigram")]
    assert [group.key for group in small_sweep().groups] == keys


def test_configs_cover_every_arm_on_both_halves_of_the_validation_text() -> None:
    found = [(config.corpus.eval_half, config.teacher.kind) for config in small_sweep().configs()]
    assert found == [(half, kind) for half in ("choosing", "reporting") for kind in ("bigram", "uniform", "bigram")]


def test_names_of_all_possible_trials_are_different_and_each_setting_has_a_confirmation() -> None:
    names = [name for group in small_sweep(extend_rates=True).groups for name in group.trial_names()]
    assert (
        len(names) == len(set(names)) == 2 * 2 * (10 + 20 + 20)
    )  # 5 rates in place of 3; each setting may be searched, and be confirmed


def test_largest_model_is_that_of_the_greatest_depth() -> None:
    assert [config.model.layers for config in small_sweep().largest()] == [2]


@pytest.mark.parametrize(
    ("key", "decided"),
    [
        *((key, True) for key in ("optimizer.lr", "teacher.kind", "teacher.steps", "model.layers", "seed")),
        *((key, True) for key in ("corpus.eval_half",)),
        *((key, False) for key in ("optimizer.beta2", "teacher.smoothing", "corpus.eval_rows")),
        ("optimizer.warmup_steps", False),  # the control searches it; the teachers' arms take the base's value
    ],
)
def test_a_search_decides_a_key_that_every_arm_fixes_or_searches(key: str, decided: bool) -> None:
    assert small_sweep().decides(key) is decided


# ---- cost ------------------------------------------------------------------------------------------------------------


def test_rungs_multiply_from_the_grace_period_and_stay_below_the_end() -> None:
    assert AshaSpec(grace_period=20).rungs(160) == [20, 40, 80]
    assert AshaSpec(grace_period=20, reduction_factor=3).rungs(181) == [20, 60, 180]
    assert AshaSpec(grace_period=20).rungs(20) == []


@pytest.mark.parametrize(
    ("ends", "judged"), [([0], 1), ([10, 20, 30, 40], 4), ([10, 80, 81, 160], 2), ([100], 0), ([80, 80], 2)]
)
def test_a_schedule_can_be_judged_if_a_rung_lies_at_or_after_its_end(ends: list[int], judged: int) -> None:
    assert ASHA.judged(ends, 160) == judged  # rungs 20, 40, 80


@pytest.mark.parametrize(
    ("ends", "factor", "steps"),
    [
        ([0], 2, 20 + 20 / 2 + 40 / 4 + 80 / 8),  # half of the trials pass each rung
        ([21], 2, 40 + 40 / 2 + 80 / 4),  # the first rung lies before the end of the schedule
        ([80], 2, 80 + 80 / 2),
        ([81], 2, 160),  # no rung lies after the end of the schedule
        ([0], 4, 20 + 60 / 4 + 80 / 16),  # rungs 20 and 80
        ([0, 81], 2, (50 + 160) / 2),
    ],
)
def test_expected_steps_leave_out_those_of_trials_that_are_stopped_at_rungs(
    ends: list[int], factor: int, steps: float
) -> None:
    asha = AshaSpec(grace_period=20, reduction_factor=factor)
    assert expected_steps(asha, ends, 160) == pytest.approx(steps)


def test_workloads_are_the_searched_trials_and_the_confirmations_of_each_group() -> None:
    """A trial has 40 steps: with T 10, judged at step 20, 20 + 20 / 2 are expected; with T 30, never judged, all 40."""
    sweep = small_sweep(layers=(3,), arms=small_arms((1, 2), teacher__steps=levels([10, 30])))
    told = [(load.config.teacher.kind, load.trials, load.steps) for load in sweep.workloads()]
    control = [("bigram", 4, 30.0), ("bigram", 2, 40.0)]  # without a schedule the kind has no effect
    teachers = [(kind, trials, steps) for kind in ("uniform", "bigram") for trials, steps in ((4, 35.0), (2, 40.0))]
    assert told == control + teachers
    assert {load.config.model.layers for load in sweep.workloads()} == {3}
    assert "at most 18 trials, about 640 trial-steps" in sweep.plan_lines()  # 4 x (30 + 2 x 35) + 6 x 40


def test_workloads_of_a_short_search_have_its_length_and_those_of_confirmations_the_whole_length() -> None:
    sweep = small_sweep(layers=(1,), search_steps=20, asha=None)
    assert [load.steps for load in sweep.workloads()] == [20, 40] * 3
    assert [load.config.loop.steps for load in sweep.workloads()] == [20, 40] * 3


def test_workloads_without_confirmations_are_the_search_alone() -> None:
    assert len(small_sweep(arms=small_arms(())).workloads()) == 6


# ---- the plan --------------------------------------------------------------------------------------------------------


def test_plan_lists_arms_spaces_references_seeds_and_how_many_settings_asha_can_judge() -> None:
    sweep = small_sweep(arms=small_arms((1, 2), teacher__steps=levels([10, 20, 30, 40])), extend_rates=True)
    assert sweep.plan_lines() == [
        "control: optimizer.lr 0.001, 0.003, 0.009; optimizer.warmup_steps 5, 10; 4 of 6 settings at each depth by "
        "optuna",
        "uniform, bigram: teacher.schedule linear, exponential; teacher.steps 10, 20, 30, 40; optimizer.lr 0.001, "
        "0.003, 0.009; 4 of 24 settings at each depth by optuna",
        "reference controls of the search: control-lr0.003-wu10-L1-s0, control-lr0.003-wu10-L2-s0",
        "a winner at an end of its learning rates gets one more rate, the same rule for every arm",
        "the winner of every group again on new seeds 1, 2, on validation text that chose nothing",
        "ASHA judges within a group at step 20, a trial only after its own schedule has ended: 6 of 6 settings of "
        "control, 12 of 24 settings of uniform, 12 of 24 settings of bigram can be judged, the others run to their end",
        "at most 72 trials, about 2,520 trial-steps",
    ]


def test_plan_says_which_arms_have_which_seeds_and_how_long_a_confirmation_is() -> None:
    arms = (*small_arms((1, 2, 3))[:2], bigram_arm(seeds=(2,)))
    lines = small_sweep(arms=arms, search_steps=20, asha=None).plan_lines()
    whole = "again over 40 steps on fresh seeds"
    assert f"the winners of control, uniform {whole} 1, 2, 3, on validation text that chose nothing" in lines
    assert f"the winners of bigram {whole} 2, on validation text that chose nothing" in lines
    assert "all trials run to their end" in lines


def test_plan_without_confirmations_names_no_seeds() -> None:
    assert not [line for line in small_sweep(arms=small_arms(())).plan_lines() if "seeds" in line]


@pytest.mark.parametrize("asha", [ASHA, None])
def test_a_schedule_may_last_the_whole_run(asha: AshaSpec | None) -> None:
    sweep = small_sweep(arms=small_arms(teacher__steps=levels([STEPS])), asha=asha)
    assert sweep.arms[2].size == 6
    judged = "0 of 6 settings of bigram can be judged" in "; ".join(sweep.plan_lines())
    assert judged == (asha is not None)


# ---- refusals --------------------------------------------------------------------------------------------------------

CONTRADICTIONS: list[tuple[Any, str]] = [
    ({"asha": AshaSpec(grace_period=25)}, r"rungs \[25\] are not evaluation steps"),
    ({"asha": AshaSpec(grace_period=40)}, "first rung is at step 40 of a search of 40 steps: nothing could be stopped"),
    ({"asha": AshaSpec(grace_period=20), "search_steps": 20}, "at step 20 of a search of 20 steps: nothing could"),
    ({"asha": AshaSpec(grace_period=20, reduction_factor=1)}, "reduction factor is 1: give at least 2"),
    ({"asha": AshaSpec(grace_period=0)}, "first rung is at step 0: give a grace period of at least 1"),
    ({"num_samples": 0}, "num_samples is 0: give at least 1 trial for each group"),
    ({"layers": ()}, "give different depths"),
    ({"layers": (0, 1)}, "give different depths of at least 1"),
    ({"layers": (2, 2)}, "give different depths"),
    ({"search_seed": -1}, "search_seed is -1: give a seed from 0"),
    ({"search_steps": 0, "asha": None}, "search_steps is 0 but a confirmation has 40 steps: give at most that"),
    ({"search_steps": 41, "asha": None}, "search_steps is 41 but a confirmation has 40 steps: give at most that"),
    ({"margin": -0.1}, "margin is -0.1: give a number of nats per token of at least 0"),
    ({"margin": float("nan")}, "margin is nan: give a number"),
    ({"base": {"teacher.schedule": "linear", "teacher.steps": 5}}, "a sweep's base is its control"),
    ({"arms": ()}, "the first arm of a search is its control, which has no teacher"),
    ({"arms": (BIGRAM, CONTROL)}, "the first arm of a search is its control, which has no teacher"),
    ({"arms": (CONTROL, BIGRAM, BIGRAM)}, "two arms are called bigram: give each arm once"),
    ({"arms": (CONTROL, bigram_arm(name="a b"), bigram_arm(name="a, b"))}, "two arms are called a-b"),
    (
        lambda: {"arms": (CONTROL, bigram_arm(seeds=(1, 2)))},
        "arm bigram has seeds that the control lacks: a gain is taken within a seed",
    ),
    ({"arms": small_arms((1, 0))}, r"seed 0 and confirmation \[1, 0\].*not confirmed by the seed that chose it"),
    ({"arms": small_arms((1, 1))}, "give different seeds"),
    (lambda: {"arms": small_arms((-1,))}, "is -1: give a seed from 0"),
    ({"arms": small_arms(teacher__steps=Range(10, 50, 10))}, "teacher.steps is 50 but loop.steps is 40"),
    ({"arms": small_arms(teacher__steps=Range(0, 20, 10))}, "give at least 1 scheduling step"),
    ({"arms": small_arms(teacher__min_weight=Range(0.5, 1.5, 0.5))}, "weight is 0.5..1.5: give weights between 0 and"),
    ({"arms": small_arms(teacher__min_weight=Range(-0.5, 0.5, 0.5))}, "weight is -0.5..0.5: give weights between 0"),
    ({"arms": small_arms(teacher__schedule=Choice(("linaer",)))}, "teacher.schedule is 'linaer': choose one of"),
    (lambda: {"arms": small_arms(teacher__schedule=Choice(("none", "linear")))}, "schedule none, which is the control"),
    (lambda: {"arms": small_arms(teacher__stesp=Range(1, 2, 1))}, "varies teacher.stesp, which trial names do not"),
    (lambda: {"arms": small_arms(optimizer__beta2=levels([0.9, 0.95]))}, "optimizer.beta2, which trial names do not"),
    (lambda: {"arms": small_arms(optimizer__lr=levels([0.003, 0.001]))}, "give each number once, ascending"),
    (lambda: {"arms": small_arms(optimizer__lr=levels([0.001, 0.001]))}, "give each number once, ascending"),
    (lambda: {"arms": small_arms(optimizer__lr=levels([]))}, "give each number once, ascending"),
    (lambda: {"arms": small_arms(optimizer__lr=levels([0.001, 0.00100000001]))}, "differ in no digit that trial names"),
    ({"arms": small_arms(optimizer__lr=levels([0.0, 0.001]))}, "optimizer.lr is 0.0: give a positive learning rate"),
    ({"arms": small_arms(optimizer__warmup_steps=levels([50]))}, "optimizer.warmup_steps is 50 but loop.steps is 40"),
    (
        lambda: {"arms": (CONTROL, bigram_arm(changes={"optimizer.lr": 0.003}))},
        "arm bigram fixes and searches optimizer.lr: do one of them",
    ),
]


@pytest.mark.parametrize(("changes", "reason"), CONTRADICTIONS)
def test_contradiction_is_refused_with_its_reason(changes: Any, reason: str) -> None:
    """`changes` is a function if the error is raised already when the arm is made."""
    with pytest.raises(InputError, match=reason):
        small_sweep(**(changes() if callable(changes) else changes))


def test_an_arm_without_a_teacher_may_differ_from_the_control() -> None:
    """The arm differs from the control in optimizer.beta2; a control with an output bias is made in the same way."""
    wide = SearchArm(name="control, wide", changes={"optimizer.beta2": 0.95}, space=CONTROL_SPACE, seeds=(1,))
    sweep = small_sweep(arms=(CONTROL, wide))
    assert not wide.has_teacher
    plan = sweep.groups[1].search_plan(sweep.groups[1].reference)
    assert plan.name == "control-wide-lr0.003-wu10-L1-s0"
    expected = override(sweep.base, {"optimizer.beta2": 0.95, "corpus.eval_half": "choosing"})
    assert plan.config == expected
    assert plan.control == "control-lr0.003-wu10-L1-s0"


def test_rates_of_the_small_sweep_are_a_factor_of_three_apart() -> None:
    assert RATES.grid() == [0.001, 0.003, 0.009]
