"""Wording of values and settings in reports."""

import math

import pytest

from analysis.wording import clip, describe, number, plural, saved, signed


@pytest.mark.parametrize(
    ("steps", "seconds", "said"),
    [
        (93.4, 16.3, "93 steps saved to the control's final loss, 16.3 training seconds saved"),
        (111, -3932.9, "111 steps saved to the control's final loss, 3,932.9 training seconds lost"),
        (math.nan, math.nan, "not every unit reached the control's final loss"),
    ],
)
def test_saved_steps_and_seconds_are_told_and_negative_seconds_are_called_lost(
    steps: float, seconds: float, said: str
) -> None:
    assert saved(steps, seconds) == said


def test_a_number_that_is_none_or_not_finite_is_a_dash() -> None:
    assert [number(value, ".1f") for value in (None, math.nan, math.inf, 1.25)] == ["-", "-", "-", "1.2"]
    assert signed(0.5) == "+0.5000"


def test_a_schedule_and_a_depth_have_one_wording() -> None:
    row = {"teacher.schedule": "linear", "teacher.steps": 40, "teacher.min_weight": 0.05}
    assert describe(row) == "linear, T = 40, min weight 0.05"
    assert [plural(layers) for layers in (1, 2)] == ["1 layer", "2 layers"]


def test_a_long_reason_is_cut_to_one_line() -> None:
    assert clip("out of\n memory") == "out of memory"
    assert len(clip("x" * 999)) == 160
