"""Pairs of trials: losses interpolated between evaluations, and two arms in the same unit."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis.tables.pairing import DIFFERENCE, beside_arm, loss_at

CURVE = pd.DataFrame({"step": [10, 20, 25, 40], "eval_loss": [8.0, 6.0, np.nan, 5.0]})


@pytest.mark.parametrize(("step", "loss"), [(10, 8.0), (12.5, 7.5), (20, 6.0), (25, 5.75), (40, 5.0)])
def test_a_loss_is_on_the_line_between_the_evaluations_around_it(step: float, loss: float) -> None:
    assert loss_at(CURVE, step) == pytest.approx(loss)


def test_there_is_no_loss_outside_the_evaluated_steps() -> None:
    assert all(math.isnan(loss_at(CURVE, step)) for step in (9, 41))
    assert math.isnan(loss_at(CURVE.iloc[:0], 10))
    assert math.isnan(loss_at(CURVE.assign(eval_loss=[8.0, 6.0, np.inf, np.inf]), 30))


def test_two_arms_are_paired_in_the_units_that_both_have() -> None:
    rows = pd.DataFrame(
        [("a", 0, 5.0), ("a", 1, 5.5), ("a", 2, np.nan), ("b", 1, 5.25), ("b", 1, 9.0), ("b", 2, 4.0), ("b", 3, 4.0)],
        columns=["arm", "seed", "eval_loss"],
    )
    pairs = beside_arm(rows, "a", "b", ["seed"])
    assert list(pairs["seed"]) == [1]
    assert list(pairs[DIFFERENCE]) == [0.25]  # if an arm has two rows of a unit, the first counts
    assert list(beside_arm(rows, "b", "a", ["seed"])[DIFFERENCE]) == [-0.25]
