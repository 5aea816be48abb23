"""A sweep's spec: names, pairs, a round trip, and every contradiction refused with its reason."""

import json
from typing import Any

import pytest
from sweep_specs import small_sweep

from sweeps.engine.specs.pairs import control_plan
from sweeps.engine.specs.search import AshaSpec, Sweep, control_plans, guided_plan, longest_schedule
from sweeps.engine.specs.space import Choice, Range, points
from trainable import names
from trainable.config import TrialConfig, flatten, override
from trainable.errors import InputError
from trainable.plan import TrialPlan, data_key, table_key

LINEAR = {"teacher.schedule": "linear", "teacher.steps": 240, "teacher.min_weight": 0.05}
BASE = override(TrialConfig(), {"loop.steps": 300, "model.layers": 2})


def test_points_of_a_space_have_different_names() -> None:
    sweep = small_sweep()
    made = [guided_plan(sweep.base, names.SEARCH, p).name for p in points(sweep.space)]
    assert len(set(made)) == len(made) == 18


def test_control_differs_from_its_guided_trial_in_the_teacher_only() -> None:
    guided = guided_plan(BASE, names.SEARCH, LINEAR | {"seed": 2, "teacher.tau": 3.0})
    control = control_plan(guided.config)
    ours, theirs = flatten(guided.config), flatten(control.config)
    different = {key for key in ours if ours[key] != theirs[key]}
    assert different == {"teacher.schedule", "teacher.steps", "teacher.min_weight", "teacher.tau"}
    assert (guided.control, control.role, control.control) == (control.name, names.CONTROL, control.name)


def test_controls_of_a_seed_are_one_a_depth() -> None:
    assert [plan.name for plan in control_plans(small_sweep(), 7)] == ["none-L1-s7", "none-L2-s7"]


def test_pair_reads_the_same_blocks_and_another_smoothing_another_table() -> None:
    guided = guided_plan(BASE, names.SEARCH, LINEAR).config
    assert data_key(guided) == data_key(control_plan(guided).config)
    assert data_key(guided) != data_key(override(guided, {"corpus.train_rows": 5}))
    assert table_key(guided) == table_key(override(guided, {"teacher.steps": 10, "model.layers": 1, "seed": 9}))
    assert table_key(guided) != table_key(override(guided, {"teacher.smoothing": "witten_bell"}))
    assert table_key(guided) != table_key(override(guided, {"teacher.rows": "all"}))


def test_plan_round_trips_through_json() -> None:
    plan = guided_plan(BASE, names.CONFIRM, LINEAR)
    assert TrialPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@pytest.mark.parametrize("changes", [{}, {"asha": None}, {"confirm_seeds": ()}, {"search": "grid", "num_samples": 18}])
def test_sweep_round_trips_through_json(changes: dict[str, Any]) -> None:
    sweep = small_sweep(**changes)
    again = Sweep.from_dict(json.loads(json.dumps(sweep.to_dict())))
    assert again.to_dict() == sweep.to_dict()
    assert points(again.space) == points(sweep.space)
    assert (again.base, again.layers, again.asha, again.confirm_seeds) == (
        sweep.base,
        sweep.layers,
        sweep.asha,
        sweep.confirm_seeds,
    )


def test_rungs_multiply_from_the_grace_period_and_stay_below_the_end() -> None:
    assert AshaSpec(grace_period=20).rungs(160) == [20, 40, 80]
    assert AshaSpec(grace_period=20, reduction_factor=3).rungs(181) == [20, 60, 180]
    assert AshaSpec(grace_period=20).rungs(20) == []


def test_sweep_counts_its_trials() -> None:
    assert small_sweep().trials == 2 * (1 + 4 + 2)
    assert longest_schedule(small_sweep()) == 20


SPACE = small_sweep().space
CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"asha": AshaSpec(grace_period=10)}, "first rung is at step 10, inside the longest schedule"),
    ({"asha": AshaSpec(grace_period=25)}, r"rungs \[25\] are not evaluation steps"),
    ({"asha": AshaSpec(grace_period=40)}, "first rung is at step 40 of a run of 40: nothing could be stopped"),
    ({"asha": AshaSpec(grace_period=20, reduction_factor=1)}, "reduction factor is 1: give at least 2"),
    ({"space": SPACE | {"teacher.steps": Range(10, 50, 10)}, "asha": None}, "longest schedule has 50 steps"),
    ({"num_samples": 19}, "only 18 different schedules: give at most --num-samples 18"),
    ({"num_samples": 0}, "num_samples is 0: give at least 1"),
    ({"layers": ()}, "give different depths"),
    ({"layers": (0, 1)}, "give different depths of at least 1"),
    ({"layers": (2, 2)}, "give different depths"),
    ({"confirm_seeds": (1, 0)}, "not confirmed by the seed that chose it"),
    ({"confirm_seeds": (1, 1)}, "give different seeds"),
    ({"confirm_seeds": (-1,)}, "is -1: give a seed from 0"),
    ({"space": SPACE | {"teacher.min_weight": Range(0.5, 1.5, 0.5)}}, "give weights between 0 and 1"),
    ({"space": SPACE | {"teacher.min_weight": Range(-0.5, 0.5, 0.5)}}, "give weights between 0 and 1"),
    ({"base": {"teacher.schedule": "linear", "teacher.steps": 5}}, "a sweep's base is its control"),
    ({"space": SPACE | {"teacher.stesp": Range(1, 2, 1)}}, r"no setting 'teacher.stesp'. Did you mean 'teacher.steps'"),
    ({"space": SPACE | {"teacher.schedule": Choice(("linaer",))}}, "teacher.schedule is 'linaer': choose one of"),
    ({"space": SPACE | {"teacher.schedule": Choice(("none", "linear"))}}, "schedule none, which is the control"),
    ({"space": {"teacher.steps": Range(10, 20, 2)}}, "has no teacher.schedule"),
    ({"space": SPACE | {"optimizer.lr": Range(0.1, 0.2, 0.1)}}, "optimizer.lr, which trial names do not tell"),
    ({"space": SPACE | {"teacher.steps": Range(0, 20, 10)}}, "give at least 1 scheduling step"),
]


@pytest.mark.parametrize(("changes", "reason"), CONTRADICTIONS)
def test_contradiction_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        small_sweep(**changes)
