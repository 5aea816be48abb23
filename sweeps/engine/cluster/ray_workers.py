"""Preparation on a Ray cluster: pieces of work run as tasks of one core each, with the results of a single process.

Text and tokens travel through the object store, so a worker node needs only the installed package. Ray runs a task
again if its worker or node dies, or if its result is lost with its node.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, islice
from typing import Any

import ray
from ray.exceptions import RayTaskError

from trainable.text.workers import Function, tree_sum

RETRIES = 3  # of a piece of work whose worker dies
AHEAD = 2  # pieces in flight for each core: one in work, one on its way
MOST_AHEAD = 64  # pieces in flight; each has some 8 MiB of text and tokens, or 64 MiB of tokens, in the driver's store
TOGETHER = 64  # pieces that workers add up; until the sum is fetched Ray keeps their items, to repeat what is lost
ONE_CORE = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class RayWorkers:
    """The cores of the cluster that this process has joined (trainable.text.workers.Workers)."""

    def __init__(self) -> None:
        self.size = max(1, int(ray.cluster_resources().get("CPU", 1)))
        options = {"num_cpus": 1, "max_retries": RETRIES, "runtime_env": {"env_vars": ONE_CORE}}
        self._apply = ray.remote(**options)(_apply)
        self._add = ray.remote(**options)(_sum_of_two)

    def map(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the results in the order of the items; a bounded number of pieces is in flight."""
        flying: deque[Any] = deque()
        for piece in self._started(function, items):
            flying.append(piece)
            if len(flying) == self._ahead:
                yield _result(flying.popleft())
        while flying:
            yield _result(flying.popleft())

    def sum(self, function: Function, items: Iterable[Any]) -> Any:
        """Return the sum of the results; workers add up TOGETHER of them at a time, and only these sums are fetched."""
        return tree_sum(self._sums(function, iter(items)))

    def _sums(self, function: Function, items: Iterator[Any]) -> Iterator[Any]:
        for first in items:
            group = chain([first], islice(items, TOGETHER - 1))
            yield _result(tree_sum(self._waited_for(self._started(function, group)), self._add.remote))

    @property
    def _ahead(self) -> int:
        return min(AHEAD * self.size, MOST_AHEAD)

    def _started(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        kept = ray.put(function)
        for item in items:
            yield self._apply.remote([kept], item)

    def _waited_for(self, pieces: Iterator[Any]) -> Iterator[Any]:
        """Yield each piece as soon as it has started, at most `_ahead` of them before the oldest one is done."""
        flying: deque[Any] = deque()
        for piece in pieces:
            yield piece
            flying.append(piece)
            if len(flying) == self._ahead:
                ray.wait([flying.popleft()], fetch_local=False)


def _apply(kept: list[Any], item: Any) -> Any:
    """Apply a function to an item, on a worker. Ray fetches no reference inside a list, so `_function` does it once."""
    return _function(kept[0])(item)


def _sum_of_two(one: Any, other: Any) -> Any:
    return one + other


@lru_cache(maxsize=2)
def _function(reference: Any) -> Function:
    """Fetch a function once for each worker, not for each piece, because a tokenizer is large."""
    function: Function = ray.get(reference)
    return function


def _result(reference: Any) -> Any:
    """Fetch a result. Raises the error that the piece raised, without Ray's wrapper."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from None
