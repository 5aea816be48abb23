"""Teacher weight and learning rate: the formulas, their ends, and what they leave."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainable.config import OptimizerConfig, TeacherConfig
from trainable.teacher.schedules import learning_rate, teacher_weight

DECAYING = ("linear", "exponential", "reciprocal", "step")


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
    assert {t: teacher_weight(t, teacher) for t in expected} == pytest.approx(expected, rel=1e-12)


@given(teachers(), st.integers(0, 10_000))
def test_weight_is_exactly_the_floor_from_the_last_scheduling_step_on(teacher: TeacherConfig, later: int) -> None:
    assert teacher_weight(teacher.steps + later, teacher) == teacher.min_weight


@given(teachers(), st.integers(0, 4000), st.just(1) | st.integers(0, 4000))
def test_weight_is_in_range_and_never_rises(teacher: TeacherConfig, step: int, later: int) -> None:
    now, then = teacher_weight(step, teacher), teacher_weight(step + later, teacher)
    assert teacher.min_weight <= then <= now <= 1


@given(teachers())
def test_weight_starts_at_one(teacher: TeacherConfig) -> None:
    assert teacher_weight(0, teacher) == 1.0


@given(st.sampled_from(DECAYING), st.integers(2, 1000))
def test_last_scheduling_step_still_teaches(schedule: str, steps: int) -> None:
    """T - 1 is before the end: an off-by-one would already give the floor there."""
    teacher = TeacherConfig(schedule=schedule, steps=steps)
    assert teacher_weight(steps - 1, teacher) > 0
    assert teacher_weight(steps, teacher) == 0


@pytest.mark.parametrize("schedule", ["exponential", "reciprocal"])
@pytest.mark.parametrize("steps", [1000, 10_000, 100_000])
def test_one_percent_is_left_at_the_end(schedule: str, steps: int) -> None:
    """At T the weight is the floor already, so the step before is looked at: it comes to 1 % as T grows."""
    left = teacher_weight(steps - 1, TeacherConfig(schedule=schedule, steps=steps))
    assert left == pytest.approx(0.01, rel=5 / steps)
    assert left > 0.01


@pytest.mark.parametrize("schedule", ["exponential", "reciprocal"])
def test_floor_of_one_percent_is_met_without_a_jump(schedule: str) -> None:
    teacher = TeacherConfig(schedule=schedule, steps=1000, min_weight=0.01)
    assert teacher_weight(999, teacher) - teacher_weight(1000, teacher) < 5e-5


def test_linear_reaches_its_floor_before_the_end() -> None:
    teacher = TeacherConfig(schedule="linear", steps=100, min_weight=0.25)
    assert [teacher_weight(t, teacher) for t in (74, 75, 76, 99)] == [0.26, 0.25, 0.25, 0.25]


def test_decay_constant_of_one_gives_the_published_exponential() -> None:
    teacher = TeacherConfig(schedule="exponential", steps=50, tau=1.0)
    assert [teacher_weight(t, teacher) for t in range(50)] == [math.exp(-t) for t in range(50)]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_none_is_zero_whatever_the_floor(step: int, min_weight: float) -> None:
    assert teacher_weight(step, TeacherConfig(schedule="none", steps=5, min_weight=min_weight)) == 0.0


# ---- learning rate -----------------------------------------------------------------------------------------------


def test_learning_rate_rises_in_equal_parts_to_its_peak() -> None:
    optimizer = OptimizerConfig(lr=1.0, warmup_steps=4)
    assert [learning_rate(t, optimizer, 100) for t in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_learning_rate_falls_as_a_cosine_to_zero() -> None:
    optimizer = OptimizerConfig(lr=2.0, warmup_steps=10)
    expected = {10: 2.0, 35: 1 + math.cos(math.pi / 4), 60: 1.0, 85: 1 - math.cos(math.pi / 4), 110: 0.0}
    assert {t: learning_rate(t, optimizer, 110) for t in expected} == pytest.approx(expected, abs=1e-12)


def test_learning_rate_without_warm_up_starts_at_its_peak() -> None:
    assert learning_rate(0, OptimizerConfig(lr=0.1, warmup_steps=0), 10) == 0.1


@given(st.integers(0, 50), st.integers(1, 200), st.integers(0, 199))
def test_learning_rate_of_each_step_that_is_taken_is_above_zero_and_at_most_the_peak(
    warmup: int, total: int, step: int
) -> None:
    assume(step < total)
    assert 0 < learning_rate(step, OptimizerConfig(lr=0.3, warmup_steps=warmup), total) <= 0.3


def test_learning_rate_falls_after_warm_up() -> None:
    optimizer = OptimizerConfig(warmup_steps=10)
    rates = [learning_rate(t, optimizer, 120) for t in range(10, 121)]
    assert rates == sorted(rates, reverse=True)
