"""Names of trials: one grammar for searches and comparisons; trials that differ have different names."""

from typing import Any

import pytest

from sweeps.engine.specs.comparison import Arm, grid, paired_plans
from sweeps.engine.specs.pairs import control_plan
from sweeps.engine.specs.trial_names import group_trial_name, slug
from trainable.config import TrialConfig, override

LINEAR = {"teacher.schedule": "linear", "teacher.steps": 240, "teacher.min_weight": 0.05}
BASE = override(TrialConfig(), {"loop.steps": 300, "model.layers": 2})
OPTIMIZER = ("optimizer.lr", "optimizer.warmup_steps")


@pytest.mark.parametrize(
    ("changes", "searched", "name"),
    [
        ({}, (), "bigram-L2-s0"),
        (LINEAR, (), "bigram-linear-T240-min0.05-L2-s0"),
        (LINEAR, OPTIMIZER, "bigram-linear-T240-min0.05-lr0.003-wu10-L2-s0"),
        (LINEAR, ("optimizer.lr", "teacher.steps"), "bigram-linear-T240-min0.05-lr0.003-L2-s0"),
        (LINEAR | {"teacher.min_weight": 0.0, "seed": 3}, (), "bigram-linear-T240-min0-L2-s3"),
        (LINEAR | {"teacher.tau": 1.5}, (), "bigram-linear-T240-min0.05-tau1.5-L2-s0"),
        (LINEAR | {"corpus.folds": 5, "corpus.fold": 3}, (), "bigram-linear-T240-min0.05-L2-f3-s0"),
        ({"optimizer.lr": 1e-5, "optimizer.warmup_steps": 0}, OPTIMIZER, "bigram-lr1e-05-wu0-L2-s0"),
    ],
)
def test_name_of_a_groups_trial_says_arm_schedule_what_is_searched_depth_fold_and_seed(
    changes: dict[str, Any], searched: tuple[str, ...], name: str
) -> None:
    assert group_trial_name("bigram", override(BASE, changes), searched) == name


def test_name_of_an_arm_becomes_a_name_for_a_folder() -> None:
    assert slug("control, unigram bias") == "control-unigram-bias"
    assert slug("../up & away/") == "..-up-away"


@pytest.mark.parametrize(("changes", "name"), [({"seed": 3}, "none-L2-s3"), ({"corpus.folds": 5}, "none-L2-f0-s0")])
def test_name_of_a_control_says_depth_fold_and_seed(changes: dict[str, Any], name: str) -> None:
    assert control_plan(override(BASE, LINEAR | changes)).name == name


@pytest.mark.parametrize(
    ("over", "name"),
    [
        ({"seed": (7,)}, "linear-240-min-weight-0.05-L2-s7"),
        ({"corpus.eval_rows": (200_000, 1_000_000), "seed": (0,)}, "linear-240-min-weight-0.05-L2-v1000000-s0"),
        ({"optimizer.lr": (1e-3, 3e-5), "model.layers": (1, 3)}, "linear-240-min-weight-0.05-L3-lr3e-05-s0"),
        ({"loop.steps": (300, 600), "optimizer.warmup_steps": (2, 4)}, "linear-240-min-weight-0.05-L2-n600-s0"),
        ({"seed": (1_234_567, 1_234_568)}, "linear-240-min-weight-0.05-L2-s1234568"),
    ],
)
def test_name_of_a_trial_in_a_comparison_says_arm_depth_seed_and_whatever_varies(
    over: dict[str, Any], name: str
) -> None:
    plans = paired_plans(grid(BASE, over), lambda unit: [Arm("linear 240, min weight 0.05", LINEAR)])
    assert plans[-1].name == name
    assert plans[-1].control == name.replace("linear-240-min-weight-0.05", "none")
    assert (
        len(
            {
                plan.name
                for plan in plans
                if plan.config.optimizer.warmup_steps == plans[-1].config.optimizer.warmup_steps
            }
        )
        > 1
    )
