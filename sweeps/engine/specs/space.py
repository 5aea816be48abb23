"""A search space: for each dotted key of a trial's config a parameter, which is a finite range of values.

Ranges are finite on purpose: the same space serves the grid, random search and TPE, and trial names stay readable.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from trainable.errors import InputError

MOST_VALUES = 10_000  # in a range
MOST_POINTS = 100_000  # in a space: its whole grid is kept in memory


@dataclass(frozen=True)
class Choice:
    """A few values without an order."""

    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise InputError("a choice in the search space is empty: give at least one value.")
        if len(set(self.values)) != len(self.values):
            raise InputError(f"a choice repeats a value ({', '.join(self.values)}): give each once.")

    def distribution(self) -> BaseDistribution:
        """The parameter as a distribution of Optuna."""
        return CategoricalDistribution(self.values)

    def grid(self) -> list[Any]:
        """All values of the parameter, in order."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """low, low + step, ... up to high; integers if low and step are integers."""

    low: float
    high: float
    step: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.low, self.high, self.step))):
            raise InputError(f"range {self.low}..{self.high} by {self.step} is not finite: give finite numbers.")
        if self.step <= 0 or self.high < self.low:
            raise InputError(f"range {self.low}..{self.high} by {self.step} is empty: give low <= high and a step > 0.")
        if (self.high - self.low) / self.step > MOST_VALUES:
            raise InputError(
                f"range {self.low}..{self.high} by {self.step} has more than {MOST_VALUES:,} values: "
                "give a larger step."
            )

    def _last(self) -> int:
        return int((self.high - self.low) / self.step + 1e-9)

    def _whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.step, int)

    def distribution(self) -> BaseDistribution:
        """The range as a distribution of Optuna, whose upper end is the last value of the range."""
        values = self.grid()
        if self._whole():
            return IntDistribution(values[0], values[-1], step=int(self.step))
        return FloatDistribution(values[0], values[-1], step=self.step)

    def nearest(self, value: float) -> Any:
        """The value of the grid nearest to Optuna's value, which may differ from it in the last digits."""
        return self._value(round((value - self.low) / self.step))

    def grid(self) -> list[Any]:
        """All values of the parameter, in order."""
        return [self._value(i) for i in range(self._last() + 1)]

    def _value(self, index: int) -> Any:
        value = self.low + index * self.step
        return value if self._whole() else round(value, 9)


@dataclass(frozen=True)
class Levels:
    """A few numbers in ascending order and unevenly spaced, such as learning rates a factor of 3 apart."""

    values: tuple[float, ...]

    def distribution(self) -> BaseDistribution:
        """The interval of the levels as a distribution of Optuna; `snapped` moves a proposal to the nearest level."""
        if all(isinstance(value, int) for value in self.values):
            return IntDistribution(int(self.values[0]), int(self.values[-1]))
        return FloatDistribution(self.values[0], self.values[-1], log=self.values[0] > 0)

    def nearest(self, value: float) -> float:
        """The level nearest to a number: by ratio where all are positive, else by distance."""
        if self.values[0] > 0:
            return min(self.values, key=lambda level: abs(math.log(level / value)))
        return min(self.values, key=lambda level: abs(level - value))

    def grid(self) -> list[Any]:
        """All values of the parameter, in order."""
        return list(self.values)


Parameter = Choice | Range | Levels
Space = Mapping[str, Parameter]
Point = dict[str, Any]  # {dotted key: value}


def snapped(space: Space, proposed: Mapping[str, Any]) -> Point:
    """The point of the space nearest to a searcher's proposal, which may lie between the levels of a parameter."""
    return {
        key: proposed[key] if isinstance(parameter, Choice) else parameter.nearest(proposed[key])
        for key, parameter in space.items()
    }


def points(space: Space) -> list[Point]:
    """The full grid: every combination of values, as {dotted key: value}. Raises InputError for one too large."""
    size = math.prod(len(parameter.grid()) for parameter in space.values())
    if size > MOST_POINTS:
        raise InputError(f"the space has {size:,} settings: give larger increments, for at most {MOST_POINTS:,}.")
    return [dict(zip(space, values, strict=True)) for values in product(*(p.grid() for p in space.values()))]


def describe(space: Space) -> dict[str, list[Any]]:
    """{dotted key: all its values}, for run.json."""
    return {key: parameter.grid() for key, parameter in space.items()}


def from_description(tree: Mapping[str, list[Any]]) -> dict[str, Parameter]:
    """The inverse of `describe`."""
    return {
        key: Choice(tuple(values)) if isinstance(values[0], str) else levels(values) for key, values in tree.items()
    }


def levels(values: Sequence[float]) -> Range | Levels:
    """Parameter with these values, smallest first: a Range if they are evenly spaced, else Levels."""
    if not all(map(math.isfinite, values)):
        raise InputError(f"values {', '.join(map(str, values))} of a search space: give finite numbers.")
    if not values or list(values) != sorted(set(values)):
        raise InputError(f"values {', '.join(map(str, values))} of a search space: give each number once, ascending.")
    step = round(values[1] - values[0], 9) if len(values) > 1 else 1
    evenly = [round(values[0] + i * step, 9) for i in range(len(values))]
    return Range(values[0], values[-1], step) if step > 0 and evenly == list(values) else Levels(tuple(values))
