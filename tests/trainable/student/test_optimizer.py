"""Learning rate: its formula, its first and last values, and its fall after warm-up."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainable.config import OptimizerConfig
from trainable.student.optimizer import learning_rate


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
