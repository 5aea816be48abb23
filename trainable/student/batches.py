"""Which blocks make up which batch: a pure function of seed and step, so that both arms see the same data.

B blocks of a micro-batch   T tokens of a block less one: the context of each target is the token before it
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainable.student.output_layer import IGNORE_INDEX
from trainable.student.ranks import ALONE, Ranks
from trainable.text.blocks import TokenBlocks


class Batch(NamedTuple):
    """A micro-batch: int64 ids; padded targets are IGNORE_INDEX."""

    context_BxT: Tensor
    target_BxT: Tensor


def step_blocks(step: int, blocks: int, blocks_per_step: int, seed: int) -> np.ndarray:
    """Numbers of the blocks of one optimizer step: every epoch is a new permutation, cut into steps, seeded."""
    first = step * blocks_per_step
    positions = np.arange(first, first + blocks_per_step)
    chosen = np.empty(blocks_per_step, dtype=np.int64)
    for epoch in np.unique(positions // blocks):
        here = positions // blocks == epoch
        chosen[here] = _permuted_blocks(blocks, seed, int(epoch))[positions[here] % blocks]
    return chosen


@lru_cache(maxsize=2)  # a step may lie in two epochs; made anew each step, it would cost more than the step
def _permuted_blocks(blocks: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of the block numbers; 4 bytes each, for every trial has its own."""
    permuted = np.arange(blocks, dtype=np.uint32)
    np.random.default_rng((seed, epoch)).shuffle(permuted)
    return permuted


def make_batch(blocks: TokenBlocks, numbers_B: np.ndarray, device: torch.device) -> Batch:
    """The micro-batch of the given block numbers."""
    ids_BxT = np.asarray(blocks.ids_BxT[numbers_B]).astype(np.int64)
    target_BxT = ids_BxT[:, 1:].copy()
    if blocks.lengths_B is not None:
        target_BxT[np.arange(1, ids_BxT.shape[1]) >= blocks.lengths_B[numbers_B, None]] = IGNORE_INDEX
    return Batch(
        torch.from_numpy(ids_BxT[:, :-1]).to(device, non_blocking=True),
        torch.from_numpy(target_BxT).to(device, non_blocking=True),
    )


def eval_batches(blocks: TokenBlocks, batch_blocks: int, device: torch.device, ranks: Ranks = ALONE) -> Iterator[Batch]:
    """All blocks in order, in batches; of several ranks, each takes every `ranks.size`-th batch."""
    for first in ranks.turns(range(0, len(blocks.ids_BxT), batch_blocks)):
        yield make_batch(blocks, np.arange(first, min(first + batch_blocks, len(blocks.ids_BxT))), device)
