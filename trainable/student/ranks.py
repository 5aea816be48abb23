"""The processes that train one model together: each holds the whole model and takes a share of every batch.

Gradients are summed once an optimizer step, after its last backward pass.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """One of the `size` processes that train a model; for more than one, `torch.distributed` must be set up."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process reports and writes checkpoints for all."""
        return self.rank == 0

    def share(self, numbers_B: np.ndarray) -> np.ndarray:
        """This rank's part of a micro-batch."""
        return np.array_split(numbers_B, self.size)[self.rank]

    def sum(self, values: Tensor) -> Tensor:
        """Sum values over ranks, in place; the result has the same bits on each rank."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def sum_gradients(self, model: torch.nn.Module) -> None:
        """Give each rank the sum of all ranks' gradients."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        for work in [distributed.all_reduce(gradient, async_op=True) for gradient in gradients]:
            work.wait()

    def turns(self, turns: range) -> range:
        """Turns of this rank: every `size`-th one, from `rank` on."""
        return turns[self.rank :: self.size]

    def in_order(self, mine: list[Item]) -> list[Item]:
        """Gather the results of all ranks in the order of the turns; returns the same list on each rank."""
        if self.size == 1:
            return mine
        gathered: list[list[Item]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(gathered, mine)
        rounds = range(len(gathered[0]))  # no rank has more turns than the first
        return [results[i] for i in rounds for results in gathered if i < len(results)]


ALONE = Ranks()
