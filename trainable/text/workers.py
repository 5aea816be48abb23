"""Workers for independent pieces of work: this process, or others (engine/cluster/ray_workers.py), with equal results.

Preparation is cut into pieces of bounded size, each a call of a function with one argument, so that one code path
serves a laptop and a cluster.
"""

import operator
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

Function = Callable[[Any], Any]


class Workers(Protocol):
    """Workers that do pieces of work; however many there are, only a bounded number is taken at a time."""

    @property
    def size(self) -> int:
        """Number of pieces that are worked on at once."""

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the function's value for each item, in the order of the items."""

    def sum(self, function: Function, items: Iterable[Any]) -> Any:
        """Sum of the function's values for all items (at least one), added up as a tree."""


class Local:
    """Worker that is this process: it does one piece after the other; a piece may use all cores by threads."""

    size = 1

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """Compute each value when it is asked for."""
        return map(function, items)

    def sum(self, function: Function, items: Iterable[Any]) -> Any:
        """Add as a tree, which holds no more than log2(items) sums."""
        return tree_sum(map(function, items))


LOCAL = Local()


def own_cores() -> int:
    """Number of cores that a piece of work may use by threads: OMP_NUM_THREADS if set, as Ray sets it, else all.

    All cores are those that this process is bound to (taskset, SLURM).
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tree_sum(values: Iterable[Any], add: Callable[[Any, Any], Any] = operator.add) -> Any:
    """Sum of the values in their order, added as a balanced tree: each value is copied log2(values) times."""
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
