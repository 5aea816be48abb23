"""The order of batches is a function of seed and step."""

from pathlib import Path

import numpy as np
import torch

from trainable.student.batches import eval_batches, make_batch, step_blocks
from trainable.student.output_layer import IGNORE_INDEX
from trainable.text.blocks import TokenBlocks

CPU = torch.device("cpu")


def blocks_of(ids_BxT: np.ndarray, lengths_B: np.ndarray | None = None) -> TokenBlocks:
    return TokenBlocks(ids_BxT, ids_BxT.ravel(), lengths_B, 0, None, 100, 1, 0, "f", "c", Path())


def test_the_same_seed_and_step_give_the_same_blocks() -> None:
    assert np.array_equal(step_blocks(3, 50, 8, seed=1), step_blocks(3, 50, 8, seed=1))
    assert not np.array_equal(step_blocks(3, 50, 8, seed=1), step_blocks(3, 50, 8, seed=2))


def test_every_block_comes_once_an_epoch_also_if_a_step_spans_two_epochs() -> None:
    seen = np.concatenate([step_blocks(step, 10, 4, seed=0) for step in range(5)])  # two epochs of ten
    assert sorted(seen[:10]) == list(range(10))
    assert sorted(seen[10:]) == list(range(10))
    assert not np.array_equal(seen[:10], seen[10:])


def test_a_step_may_be_longer_than_an_epoch() -> None:
    assert np.bincount(step_blocks(0, 3, 7, seed=0), minlength=3).tolist() in ([2, 2, 3], [2, 3, 2], [3, 2, 2])


def test_targets_follow_their_contexts_and_padding_is_ignored() -> None:
    blocks = blocks_of(np.arange(12, dtype=np.uint16).reshape(3, 4), np.array([4, 2, 1], np.int32))
    batch = make_batch(blocks, np.array([1, 0, 2]), CPU)
    assert batch.context_BxT.tolist() == [[4, 5, 6], [0, 1, 2], [8, 9, 10]]
    no = IGNORE_INDEX
    assert batch.target_BxT.tolist() == [[5, no, no], [1, 2, 3], [no, no, no]]


def test_eval_batches_cover_all_blocks_in_order() -> None:
    blocks = blocks_of(np.arange(20, dtype=np.uint16).reshape(5, 4))
    contexts = torch.cat([batch.context_BxT for batch in eval_batches(blocks, 2, CPU)])
    assert contexts[:, 0].tolist() == [0, 4, 8, 12, 16]
