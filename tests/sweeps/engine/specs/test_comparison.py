"""A comparison: each unit has a control, arms differ from the control only in the teacher and run after it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sweep_specs import EVERY, STEPS, SimulatedTune, new_run, states

from sweeps.engine.specs.comparison import Arm, Comparison, grid, paired_plans
from trainable import names
from trainable.config import TrialConfig, flatten, override
from trainable.errors import InputError
from trainable.plan import TrialPlan

BASE = override(TrialConfig(), {"loop.steps": STEPS, "loop.eval_every": EVERY, "loop.checkpoint_every": EVERY})
LINEAR = Arm("linear 10", {"teacher.schedule": "linear", "teacher.steps": 10})
HELD = Arm("linear 10, min weight 0.1", {**LINEAR.changes, "teacher.min_weight": 0.1})


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn fsync off: the tests write many small files, and no test simulates a crash of the machine."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def small_comparison(over: dict[str, Any] | None = None, *arms: Arm) -> Comparison:
    """A comparison of two arms with their controls on two seeds, or of the given arms and units."""
    units = grid(BASE, over or {"seed": (0, 1)})
    plans = paired_plans(units, lambda unit: arms or (LINEAR, HELD))
    return Comparison(study="study", question="Which?", base=BASE, plans=plans)


def test_every_unit_has_one_control_and_controls_come_first() -> None:
    plans = small_comparison({"model.layers": (1, 2), "seed": (0, 1)}).plans
    roles = [plan.role for plan in plans]
    assert roles == [names.CONTROL] * 4 + [names.ARM] * 8
    assert {plan.arm for plan in plans if plan.role == names.CONTROL} == {"none"}


def test_arm_differs_from_its_control_in_the_teacher_only() -> None:
    by_name = {plan.name: plan for plan in small_comparison({"corpus.fold": (0,), "seed": (0, 1)}).plans}
    for plan in by_name.values():
        ours, theirs = flatten(plan.config), flatten(by_name[plan.control].config)
        different = {key for key in ours if ours[key] != theirs[key]}
        assert all(key.startswith("teacher.") for key in different)
        assert (plan.role == names.ARM) == bool(different)


def test_names_say_the_arm_and_each_setting_that_varies() -> None:
    plans = small_comparison({"optimizer.lr": (1e-3, 3e-3), "seed": (0,)}).plans
    assert [plan.name for plan in plans] == [
        "none-L1-lr0.001-s0",
        "none-L1-lr0.003-s0",
        "linear-10-L1-lr0.001-s0",
        "linear-10-min-weight-0.1-L1-lr0.001-s0",
        "linear-10-L1-lr0.003-s0",
        "linear-10-min-weight-0.1-L1-lr0.003-s0",
    ]


def test_an_arm_may_depend_on_its_unit() -> None:
    units = [override(BASE, {"loop.steps": steps}) for steps in (STEPS, 2 * STEPS)]
    half = [{"teacher.schedule": "linear", "teacher.steps": unit.loop.steps // 2} for unit in units]
    plans = paired_plans(units, lambda unit: [Arm("half", half[units.index(unit)])])
    assert [plan.config.teacher.steps for plan in plans if plan.role == names.ARM] == [STEPS // 2, STEPS]


def test_comparison_survives_json() -> None:
    comparison = small_comparison()
    assert Comparison.from_dict(json.loads(json.dumps(comparison.to_dict()))) == comparison


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: small_comparison({"seed": ()}), "no trials"),
        (lambda: small_comparison({"seed": (0, 0)}), "called none-L1-s0"),
        (lambda: small_comparison(None, LINEAR, LINEAR), "called linear-10-L1-s0"),
        (lambda: small_comparison({"tokens.context": (32, 64)}), "trial names do not show"),
        (lambda: small_comparison(None, Arm("x", {"teacher.stebs": 3})), "teacher.stebs"),
        (lambda: small_comparison(None, Arm("x", {"teacher.schedule": "linear"})), "teacher.steps"),
    ],
)
def test_contradiction_is_refused_with_its_reason(make: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        make()


def test_guided_trial_that_is_listed_before_its_control_is_refused() -> None:
    control, guided, *_ = paired_plans([BASE], lambda unit: [LINEAR])
    with pytest.raises(InputError, match="before its control"):
        Comparison(study="study", question="?", base=BASE, plans=(guided, control))


# ---- the order of its trials ---------------------------------------------------------------------------------------


def test_all_trials_run_once_and_none_before_its_control_has_finished(tmp_path: Path) -> None:
    comparison = small_comparison()
    tune = SimulatedTune(folder=new_run(tmp_path, comparison), sweep=comparison)
    assert tune.run().exhausted
    assert sorted(plan.name for plan in tune.given) == sorted(plan.name for plan in comparison.plans)
    for plan in tune.given:
        assert plan.role == names.CONTROL or plan.control in tune.started[plan.name]


@pytest.mark.parametrize("events", range(1, 32, 3))
def test_a_killed_comparison_goes_on_and_repeats_no_finished_trial(tmp_path: Path, events: int) -> None:
    comparison = small_comparison()
    folder = new_run(tmp_path, comparison)
    SimulatedTune(folder=folder, sweep=comparison).run(events)
    finished = set(states(folder, names.FINISHED))
    again = SimulatedTune(folder=folder, sweep=comparison)
    assert again.run().exhausted
    assert not finished & {plan.name for plan in again.given}
    assert set(states(folder, names.FINISHED)) == {plan.name for plan in comparison.plans}


def test_arms_of_a_failed_control_are_not_run_and_all_other_arms_are(tmp_path: Path) -> None:
    comparison = small_comparison()
    tune = SimulatedTune(folder=new_run(tmp_path, comparison), sweep=comparison, failing=frozenset({"none-L1-s0"}))
    assert tune.run().exhausted
    assert {plan.config.seed for plan in tune.given if plan.role == names.ARM} == {1}


def test_run_folder_gives_the_comparison_back(tmp_path: Path) -> None:
    comparison = small_comparison()
    assert new_run(tmp_path, comparison).spec() == comparison


def test_plan_of_an_older_run_without_an_arm_is_read() -> None:
    plan = small_comparison().plans[0]
    tree = plan.to_dict()
    del tree["arm"]
    assert TrialPlan.from_dict(tree).arm == ""
