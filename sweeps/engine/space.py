"""What a study may vary: a parameter is a dotted key of the trial's config and a finite range of values.

Ranges are finite on purpose: the same space serves the grid, random search and TPE, and trial names stay readable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from trainable.errors import InputError


@dataclass(frozen=True)
class Choice:
    """Any of a few values without order."""

    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise InputError("a choice in the search space is empty: give at least one value.")
        if len(set(self.values)) != len(self.values):
            raise InputError(f"a choice repeats a value ({', '.join(self.values)}): give each once.")

    def distribution(self) -> BaseDistribution:
        """For Optuna."""
        return CategoricalDistribution(self.values)

    def grid(self) -> list[Any]:
        """All values."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """low, low + step, ... up to high; whole numbers where low and step are whole."""

    low: float
    high: float
    step: float

    def __post_init__(self) -> None:
        if self.step <= 0 or self.high < self.low:
            raise InputError(f"range {self.low}..{self.high} by {self.step} is empty: give low <= high and a step > 0.")

    def _last(self) -> int:
        return int((self.high - self.low) / self.step + 1e-9)

    def _whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.step, int)

    def distribution(self) -> BaseDistribution:
        """For Optuna; the upper end is the last value of the range."""
        values = self.grid()
        if self._whole():
            return IntDistribution(values[0], values[-1], step=int(self.step))
        return FloatDistribution(values[0], values[-1], step=self.step)

    def grid(self) -> list[Any]:
        """All values."""
        values = [self.low + i * self.step for i in range(self._last() + 1)]
        return values if self._whole() else [round(v, 9) for v in values]


Parameter = Choice | Range
Space = Mapping[str, Parameter]


def points(space: Space) -> list[dict[str, Any]]:
    """The full grid: every combination of values, as {dotted key: value}."""
    return [dict(zip(space, values, strict=True)) for values in product(*(p.grid() for p in space.values()))]


def describe(space: Space) -> dict[str, list[Any]]:
    """{dotted key: all its values}, for run.json."""
    return {key: parameter.grid() for key, parameter in space.items()}


def from_description(tree: Mapping[str, list[Any]]) -> dict[str, Parameter]:
    """The inverse of `describe`: numbers are a range, anything else a choice."""
    return {key: _parameter(values) for key, values in tree.items()}


def _parameter(values: list[Any]) -> Parameter:
    if isinstance(values[0], str):
        return Choice(tuple(values))
    return Range(values[0], values[-1], round(values[1] - values[0], 9) if len(values) > 1 else 1)
