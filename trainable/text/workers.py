"""Who does independent pieces of work: this process, or others (engine/cluster/ray_workers.py), with the same results.

Preparation is cut into pieces of bounded size, a function of one argument each, so that one code path serves a laptop
and a cluster.
"""

import operator
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

Function = Callable[[Any], Any]


class Workers(Protocol):
    """Does pieces of work, a bounded number of them at a time, whatever their number."""

    @property
    def size(self) -> int:
        """How many pieces are worked at together."""

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """The function of each item, in the order of the items."""

    def sum(self, function: Function, items: Iterable[Any]) -> Any:
        """The sum of the function of each item, of which there is at least one, added up as a tree."""


class Local:
    """This process, one piece after the other; a piece may use all cores by threads."""

    size = 1

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """Compute each value when it is asked for."""
        return map(function, items)

    def sum(self, function: Function, items: Iterable[Any]) -> Any:
        """Add as a tree, which holds no more than log2(items) sums."""
        return tree_sum(map(function, items))


LOCAL = Local()


def own_cores() -> int:
    """Cores that a piece of work may use by threads: OMP_NUM_THREADS where that is set, as Ray does, else all."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) else os.cpu_count() or 1


def tree_sum(values: Iterable[Any], add: Callable[[Any, Any], Any] = operator.add) -> Any:
    """The sum of the values in their order, added in pairs of like age: each is copied log2(values) times."""
    stack: list[tuple[int, Any]] = []  # a binary counter: levels strictly fall from bottom to top
    for value in values:
        level = 0
        while stack and stack[-1][0] == level:
            value = add(stack.pop()[1], value)
            level += 1
        stack.append((level, value))
    total = stack.pop()[1]
    while stack:
        total = add(stack.pop()[1], total)
    return total
