"""The search space: finite ranges, one grid for every searcher, and a round trip through run.json."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.engine.specs.space import Choice, Levels, Range, describe, from_description, levels, points, snapped
from trainable.errors import InputError


def test_whole_numbers_stay_whole() -> None:
    values = Range(20, 60, 10).grid()
    assert values == [20, 30, 40, 50, 60] and all(type(v) is int for v in values)


def test_floats_are_rounded_so_that_names_are_readable() -> None:
    assert Range(0.0, 0.3, 0.1).grid() == [0.0, 0.1, 0.2, 0.3]
    assert Range(0.0, 0.5, 0.05).grid()[3] == 0.15


def test_range_ends_at_its_last_value_below_the_upper_end() -> None:
    assert Range(2, 9, 3).grid() == [2, 5, 8]
    assert Range(2, 9, 3).distribution().high == 8
    assert Range(0.0, 1.0, 0.3).distribution().high == pytest.approx(0.9)


def test_range_of_one_value_is_that_value() -> None:
    assert Range(5, 5, 1).grid() == [5]
    assert Range(0.5, 0.5, 0.1).grid() == [0.5]


@pytest.mark.parametrize(("low", "high", "step"), [(1, 2, 0), (1, 2, -1), (2, 1, 1)])
def test_empty_range_is_refused(low: float, high: float, step: float) -> None:
    with pytest.raises(InputError, match="is empty: give low <= high and a step > 0"):
        Range(low, high, step)


def test_empty_choice_is_refused() -> None:
    with pytest.raises(InputError, match="give at least one value"):
        Choice(())


def test_choice_that_repeats_a_value_is_refused() -> None:
    with pytest.raises(InputError, match=r"repeats a value \(a, b, a\): give each once"):
        Choice(("a", "b", "a"))


def test_grid_has_every_combination_once() -> None:
    grid = points({"a": Choice(("x", "y")), "b": Range(1, 3, 1)})
    assert [(p["a"], p["b"]) for p in grid] == [(a, b) for a in "xy" for b in (1, 2, 3)]


def test_every_grid_value_is_one_of_the_distribution() -> None:
    for parameter in (Choice(("a", "b")), Range(10, 35, 10), Range(0.0, 0.5, 0.05), Range(0.1, 0.9, 0.35)):
        distribution = parameter.distribution()
        assert all(distribution._contains(distribution.to_internal_repr(v)) for v in parameter.grid())


@given(low=st.integers(0, 50), count=st.integers(1, 8), step=st.integers(1, 9))
def test_whole_range_round_trips_through_json(low: int, count: int, step: int) -> None:
    space = {"teacher.steps": Range(low, low + (count - 1) * step, step), "teacher.schedule": Choice(("linear",))}
    again = from_description(json.loads(json.dumps(describe(space))))
    assert points(again) == points(space)
    assert all(type(p["teacher.steps"]) is int for p in points(again))


@given(low=st.integers(0, 20), count=st.integers(1, 8), step=st.integers(1, 9))
def test_range_of_floats_round_trips_through_json(low: int, count: int, step: int) -> None:
    space = {"teacher.min_weight": Range(low / 20, (low + (count - 1) * step) / 20, step / 20)}
    again = from_description(json.loads(json.dumps(describe(space))))
    assert len(points(space)) == count and points(again) == points(space)


# ---- levels, evenly spaced or not --------------------------------------------------------------------------------


def test_evenly_spaced_numbers_are_a_range_and_others_are_levels() -> None:
    assert levels([0.001, 0.002, 0.003]) == Range(0.001, 0.003, 0.001)
    assert levels([5, 10]) == Range(5, 10, 5)
    assert levels([7]) == Range(7, 7, 1)
    assert levels([0.001, 0.003, 0.009]) == Levels((0.001, 0.003, 0.009))
    assert levels([5, 10, 20]) == Levels((5, 10, 20))
    assert levels([1e-5, 2e-5, 1.0]) == Levels((1e-5, 2e-5, 1.0)), "a range would have 100,000 values"
    assert levels([1e-11, 2e-11]) == Levels((1e-11, 2e-11)), "the step of a range would be rounded to 0"


@pytest.mark.parametrize("values", [[], [2, 1], [1, 1], [0.1, 0.2, 0.2]])
def test_numbers_that_do_not_ascend_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="give each number once, ascending"):
        levels(values)


@pytest.mark.parametrize("values", [[math.nan], [0.1, math.inf], [0.1, 0.2, math.nan]])
def test_numbers_that_are_not_finite_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="give finite numbers"):
        levels(values)


@pytest.mark.parametrize(
    ("values", "proposed", "nearest"),
    [
        ([0.001, 0.003, 0.009], 0.0017, 0.001),  # by ratio: sqrt(0.001 * 0.003) = 0.00173
        ([0.001, 0.003, 0.009], 0.0018, 0.003),
        ([0.001, 0.003, 0.009], 0.5, 0.009),
        ([0, 10, 100], 54, 10),  # by distance, because a level is 0
        ([0, 10, 100], 56, 100),
    ],
)
def test_a_proposal_between_levels_is_moved_to_the_nearest_level(
    values: list[float], proposed: float, nearest: float
) -> None:
    space = {"optimizer.lr": levels(values), "teacher.schedule": Choice(("a",)), "teacher.steps": Range(1, 9, 4)}
    point = snapped(space, {"optimizer.lr": proposed, "teacher.schedule": "a", "teacher.steps": 5})
    assert point == {"optimizer.lr": nearest, "teacher.schedule": "a", "teacher.steps": 5}


@pytest.mark.parametrize("values", [[0.001, 0.003, 0.009], [0.0, 0.1, 0.5], [5, 10, 20]])
def test_every_level_is_one_of_the_distribution_and_round_trips(values: list[float]) -> None:
    parameter = levels(values)
    distribution = parameter.distribution()
    assert all(distribution._contains(value) for value in values)
    again = from_description(json.loads(json.dumps(describe({"optimizer.lr": parameter}))))
    assert again == {"optimizer.lr": parameter}
    assert [type(value) for value in again["optimizer.lr"].grid()] == [type(value) for value in values]


def test_a_proposal_of_optuna_becomes_a_value_of_the_grid_to_the_last_digit() -> None:
    """Optuna's 12th step of 0.05 is 0.6000000000000001, not on the grid; a resumed run would make it another trial."""
    parameter = Range(0.0, 1.0, 0.05)
    for index, value in enumerate(parameter.grid()):
        assert snapped({"teacher.min_weight": parameter}, {"teacher.min_weight": index * 0.05}) == {
            "teacher.min_weight": value
        }
    assert 12 * 0.05 not in parameter.grid()
