"""Weight of the teacher: the formulas of all schedules, their first and last steps, and the minimum weight."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.config import TeacherConfig
from trainable.errors import InputError
from trainable.teacher.schedules import SCHEDULES, teacher_weight

DECAYING = [name for name in SCHEDULES if name != "none"]


def weight_at(step: int, teacher: TeacherConfig) -> float:
    return teacher_weight(step, teacher.schedule, teacher.steps, teacher.min_weight, teacher.tau)


@st.composite
def teachers(draw: st.DrawFn) -> TeacherConfig:
    return TeacherConfig(
        schedule=draw(st.sampled_from(DECAYING)),
        steps=draw(st.integers(1, 2000)),
        min_weight=draw(st.floats(0, 1)),
        tau=draw(st.none() | st.floats(0, exclude_min=True, allow_infinity=False)),
    )


@pytest.mark.parametrize(
    ("schedule", "tau", "expected"),
    [
        ("linear", None, {0: 1.0, 1: 0.99, 25: 0.75, 50: 0.5, 99: 0.01}),
        ("exponential", None, {0: 1.0, 25: 100**-0.25, 50: 0.1, 99: 100**-0.99}),
        ("exponential", 20.0, {0: 1.0, 20: math.exp(-1), 60: math.exp(-3)}),
        ("reciprocal", None, {0: 1.0, 1: 100 / 199, 50: 1 / 50.5, 99: 1 / (1 + 99 * 99 / 100)}),
        ("reciprocal", 10.0, {0: 1.0, 10: 0.5, 90: 0.1}),
        ("step", None, {0: 1.0, 1: 1.0, 99: 1.0}),
    ],
)
def test_weight_follows_its_formula(schedule: str, tau: float | None, expected: dict[int, float]) -> None:
    teacher = TeacherConfig(schedule=schedule, steps=100, tau=tau)
    assert {t: weight_at(t, teacher) for t in expected} == pytest.approx(expected, rel=1e-12)


@given(teachers(), st.integers(0, 10_000))
def test_weight_is_exactly_the_minimum_weight_after_the_scheduling_steps(teacher: TeacherConfig, later: int) -> None:
    assert weight_at(teacher.steps + later, teacher) == teacher.min_weight


@given(teachers(), st.integers(0, 4000), st.just(1) | st.integers(0, 4000))
def test_weight_is_in_range_and_never_rises(teacher: TeacherConfig, step: int, later: int) -> None:
    now, then = weight_at(step, teacher), weight_at(step + later, teacher)
    assert teacher.min_weight <= then <= now <= 1


@given(teachers())
def test_weight_starts_at_one(teacher: TeacherConfig) -> None:
    assert weight_at(0, teacher) == 1.0


@given(st.sampled_from(DECAYING), st.integers(2, 1000))
def test_last_scheduling_step_still_teaches(schedule: str, steps: int) -> None:
    """The weight is above 0 at step T - 1 and 0 at step T; an error by one step would show."""
    teacher = TeacherConfig(schedule=schedule, steps=steps)
    assert weight_at(steps - 1, teacher) > 0
    assert weight_at(steps, teacher) == 0


@pytest.mark.parametrize("schedule", ["exponential", "reciprocal"])
@pytest.mark.parametrize("steps", [1000, 10_000, 100_000])
def test_weight_of_the_last_scheduling_step_is_close_to_one_percent(schedule: str, steps: int) -> None:
    """The weight at step T - 1 approaches 1 % as T grows; at step T it is already the minimum weight."""
    left = weight_at(steps - 1, TeacherConfig(schedule=schedule, steps=steps))
    assert left == pytest.approx(0.01, rel=5 / steps)
    assert left > 0.01


@pytest.mark.parametrize("schedule", ["exponential", "reciprocal"])
def test_minimum_weight_of_one_percent_is_reached_without_a_jump(schedule: str) -> None:
    teacher = TeacherConfig(schedule=schedule, steps=1000, min_weight=0.01)
    assert weight_at(999, teacher) - weight_at(1000, teacher) < 5e-5


def test_linear_reaches_its_minimum_weight_before_the_end() -> None:
    teacher = TeacherConfig(schedule="linear", steps=100, min_weight=0.25)
    assert [weight_at(t, teacher) for t in (74, 75, 76, 99)] == [0.26, 0.25, 0.25, 0.25]


def test_decay_constant_of_one_gives_the_published_exponential() -> None:
    teacher = TeacherConfig(schedule="exponential", steps=50, tau=1.0)
    assert [weight_at(t, teacher) for t in range(50)] == [math.exp(-t) for t in range(50)]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_weight_of_schedule_none_is_zero_whatever_the_minimum_weight(step: int, min_weight: float) -> None:
    assert weight_at(step, TeacherConfig(schedule="none", steps=5, min_weight=min_weight)) == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "linaer", "steps": 5}, "choose one of none, linear, exponential, reciprocal, step"),
        ({"schedule": "linear", "steps": 0}, "give at least 1 scheduling step"),
        ({"schedule": "linear", "steps": 5, "min_weight": 1.5}, "give a weight between 0 and 1"),
        ({"schedule": "exponential", "steps": 5, "tau": 0.0}, "give a positive number of steps"),
    ],
)
def test_teacher_weight_refuses_wrong_settings_and_says_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        teacher_weight(0, **settings)
