"""Unigram of the training rows: equal to counts by hand, without padding, however many tokens are counted at once."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from trainable.student import unigram
from trainable.student.unigram import log_unigram
from trainable.text.blocks import TokenBlocks

STREAM_N = np.array([0, 3, 3, 1, 3, 0, 1, 3, 3], np.uint16)  # the last token is in no block


def blocks_of(lengths_B: np.ndarray | None) -> TokenBlocks:
    stream_N = STREAM_N if lengths_B is None else STREAM_N[:8]
    return TokenBlocks(STREAM_N[:8].reshape(2, 4), stream_N, lengths_B, 0, None, 5, 1, 0, "f", "c", Path())


@pytest.mark.parametrize("counted_tokens", [1, 4, 7, 1 << 20])
@pytest.mark.parametrize(
    ("lengths_B", "counts"), [(None, [2, 2, 0, 5, 0]), (np.array([4, 2], np.int32), [2, 1, 0, 3, 0])]
)
def test_each_token_is_counted_once_more_than_it_occurs_and_padding_is_not_counted(
    lengths_B: np.ndarray | None, counts: list[int], counted_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unigram, "COUNTED_TOKENS", counted_tokens)
    expected_V = [math.log((count + 1) / (sum(counts) + 5)) for count in counts]
    torch.testing.assert_close(log_unigram(blocks_of(lengths_B)), torch.tensor(expected_V))
