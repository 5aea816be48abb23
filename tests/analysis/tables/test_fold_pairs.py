"""Pairs of trials in folds: which trials make a pair, under which name, and which are left out and why."""

import math
from typing import Any

import pandas as pd
import pytest
from fold_trials import LINEAR_240, NONE, pair, table, text, trial

from analysis.tables.folds import kfold_rows, left_out
from trainable import names
from trainable.errors import InputError


@pytest.fixture
def five() -> pd.DataFrame:
    return table(*(pair(fold, *losses) for fold, losses in enumerate(zip(NONE, LINEAR_240, strict=True))))


def test_trials_that_differ_in_more_than_the_seed_are_not_averaged() -> None:
    deep = [row | {"model.layers": 2} for row in pair(0, 4.2, 4.1, seed=1)]
    shallow = [row | {"model.layers": 1} for row in pair(0, 4.5, 4.2)]
    rows = kfold_rows(table(shallow, deep))
    assert dict(zip(rows["arm"], rows["gain"].round(6), strict=True)) == {
        "linear 240, model.layers 1": 0.3,
        "linear 240, model.layers 2": 0.1,
    }


def test_a_run_without_arms_is_named_by_its_schedule(five: pd.DataFrame) -> None:
    old = five.drop(columns=["arm", "teacher.rows"]).replace({"role": {names.ARM: names.CONFIRM}})
    assert set(kfold_rows(old)["arm"]) == {"linear 240"}
    assert set(kfold_rows(old.assign(**{"teacher.min_weight": 0.1}))["arm"]) == {"linear 240 min weight 0.1"}


@pytest.mark.parametrize(
    ("row", "changes", "why"),
    [
        (3, {"state": names.FAILED, "reason": "out of memory"}, "failed (out of memory)"),
        (3, {"state": names.STOPPED, "step": 300}, "stopped"),
        (3, {"state": names.RUNNING}, "running"),
        (2, {"state": names.FAILED}, "its control none-f1-s0 is failed"),
        (3, {"control": "none-f9-s0"}, "its control none-f9-s0 is not in the results"),
        (3, {"control": "none-f0-s0"}, "its control none-f0-s0 is of fold 0"),
        (3, {"eval_loss": math.nan}, "it or its control has no finite loss"),
        (3, {"step": 540}, "it ended at step 540, its control at step 570"),
        (3, {"role": names.SEARCH}, "the search chose by this trial, so its gain flatters"),
    ],
)
def test_what_cannot_be_paired_is_left_out_and_named(
    five: pd.DataFrame, row: int, changes: dict[str, Any], why: str
) -> None:
    for name, value in changes.items():
        five.loc[row, name] = value
    assert list(kfold_rows(five)["corpus.fold"]) == [0, 2, 3, 4]
    outs = left_out(five)
    assert outs.to_dict("records") == [{"arm": "linear 240", "corpus.fold": 1, "trial": "linear-f1-s0", "why": why}]
    assert f"Left out, {why}: fold 1 linear-f1-s0." in text(five)
    assert "over 4 of 5 folds" in text(five)


def test_a_fold_without_a_trial_is_named(five: pd.DataFrame) -> None:
    assert "Left out, no trial of this arm: fold 3." in text(five.drop(index=[6, 7]))


def test_planned_trials_that_are_gone_are_named(five: pd.DataFrame) -> None:
    """Planned trials that are not in the results are named, also if their whole arm is not there."""
    step = five[five["role"] == names.ARM].head(1).assign(trial="step-f0-s0", arm="step 60")
    outs = left_out(five.drop(index=[7]), pd.concat([five, step]))
    assert outs[["arm", "trial", "why"]].to_numpy().tolist() == [
        ["linear 240", "linear-f3-s0", "planned, and not in the results"],
        ["step 60", "step-f0-s0", "planned, and not in the results"],
    ]


def test_nothing_is_left_out_of_a_whole_run(five: pd.DataFrame) -> None:
    assert left_out(five).empty
    assert "Left out" not in text(five)


def test_an_arm_without_a_complete_fold_is_named(five: pd.DataFrame) -> None:
    trials = pd.concat([five, pd.DataFrame([trial("step-f0", "none-f0-s0", 4.4, arm="step 60", state="failed")])])
    assert "no claim: no fold is complete" in text(trials.reset_index(drop=True))


def test_a_run_without_any_control_is_an_error_that_names_one_missing_control(five: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="linear-f0-s0: its control none-f0-s0 is not in the results"):
        kfold_rows(five[five["role"] == names.ARM])


def test_controls_alone_are_an_error(five: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="no guided trial"):
        kfold_rows(five[five["role"] == names.CONTROL])


@pytest.mark.parametrize("folds", [math.nan, "absent"])
def test_a_run_without_folds_is_an_error(five: pd.DataFrame, folds: Any) -> None:
    columns = {"corpus.folds": folds} if folds != "absent" else {}
    with pytest.raises(InputError, match=r"sweeps/kfold\.py"):
        kfold_rows(five.drop(columns="corpus.folds").assign(**columns))
