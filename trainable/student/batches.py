"""Batches of blocks: a pure function of seed and step, so that both arms see the same data.

B blocks of a micro-batch   T tokens of a block minus 1: the first token has no context, the last no target
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainable.config import LoopConfig
from trainable.student.output_layer import IGNORE_INDEX
from trainable.student.ranks import ALONE, Ranks
from trainable.teacher.device_rows import to_device
from trainable.text.blocks import TokenBlocks


class Batch(NamedTuple):
    """A micro-batch of int64 ids; targets that are padding are IGNORE_INDEX."""

    context_BxT: Tensor
    target_BxT: Tensor
    host_context_BxT: np.ndarray  # context_BxT on the host, which reads it without waiting for a GPU
    numbers_B: np.ndarray  # block numbers


def step_numbers(blocks: TokenBlocks, step: int, loop: LoopConfig, seed: int) -> np.ndarray:
    """Block numbers of one optimizer step, [A, B]: A micro-batches of B blocks, over all ranks."""
    chosen = step_blocks(step, len(blocks.ids_BxT), loop.batch_blocks * loop.accumulation, seed)
    return chosen.reshape(loop.accumulation, -1)


def step_blocks(step: int, blocks: int, blocks_per_step: int, seed: int) -> np.ndarray:
    """Block numbers of one optimizer step; every epoch is a new permutation from the seed, cut into steps."""
    first = step * blocks_per_step
    positions = np.arange(first, first + blocks_per_step)
    chosen = np.empty(blocks_per_step, dtype=np.int64)
    for epoch in np.unique(positions // blocks):
        here = positions // blocks == epoch
        chosen[here] = _permuted_blocks(blocks, seed, int(epoch))[positions[here] % blocks]
    return chosen


@lru_cache(maxsize=2)  # 2, as a step may lie in two epochs; without a cache this would cost more than the step
def _permuted_blocks(blocks: int, seed: int, epoch: int) -> np.ndarray:
    """Permutation of the block numbers of an epoch, in uint32, because every trial keeps its own."""
    permuted = np.arange(blocks, dtype=np.uint32)
    np.random.default_rng((seed, epoch)).shuffle(permuted)
    return permuted


def make_batch(blocks: TokenBlocks, numbers_B: np.ndarray, device: torch.device) -> Batch:
    """Make the micro-batch of the given block numbers."""
    ids_BxT = np.asarray(blocks.ids_BxT[numbers_B]).astype(np.int64)
    target_BxT = ids_BxT[:, 1:].copy()
    if blocks.lengths_B is not None:
        target_BxT[np.arange(1, ids_BxT.shape[1]) >= blocks.lengths_B[numbers_B, None]] = IGNORE_INDEX
    context_BxT = ids_BxT[:, :-1]
    return Batch(to_device(context_BxT, device), to_device(target_BxT, device), context_BxT, numbers_B)


def count_targets(blocks: TokenBlocks, numbers_N: np.ndarray) -> int:
    """Number of targets in the given blocks; neither padding nor the first token of a block is a target."""
    if blocks.lengths_B is None:
        return len(numbers_N) * int(blocks.ids_BxT.shape[1] - 1)
    length_N = np.asarray(blocks.lengths_B[numbers_N], np.int64)
    return int(np.maximum(length_N - 1, 0).sum())


def eval_batches(blocks: TokenBlocks, batch_blocks: int, device: torch.device, ranks: Ranks = ALONE) -> Iterator[Batch]:
    """Yield all blocks in order, in batches; each of several ranks takes every `ranks.size`-th batch."""
    for first in ranks.turns(range(0, len(blocks.ids_BxT), batch_blocks)):
        yield make_batch(blocks, np.arange(first, min(first + batch_blocks, len(blocks.ids_BxT))), device)
