"""Frequency of each token in the training rows: the start of an output bias, and what a student learns first.

V vocabulary   N tokens   B blocks   n tokens counted at once
"""

import numpy as np
import torch
from torch import Tensor

from trainable.text.blocks import TokenBlocks

COUNTED_TOKENS = 1 << 20  # tokens counted at once: 8 MiB


def log_unigram(blocks: TokenBlocks) -> Tensor:
    """Log-probability of each token, float32 [V], in the blocks' rows; padding is not counted.

    1 is added to the count of each token, so that no token is impossible.
    """
    count_V = np.ones(blocks.vocab_size, np.int64)
    if blocks.lengths_B is None:
        for first in range(0, len(blocks.stream_N), COUNTED_TOKENS):
            ids_n = blocks.stream_N[first : first + COUNTED_TOKENS]
            count_V += np.bincount(ids_n, minlength=blocks.vocab_size)
    else:
        width = blocks.ids_BxT.shape[1]
        step = max(1, COUNTED_TOKENS // width)
        for first in range(0, len(blocks.ids_BxT), step):
            real_bxT = np.arange(width) < blocks.lengths_B[first : first + step, None]
            count_V += np.bincount(blocks.ids_BxT[first : first + step][real_bxT], minlength=blocks.vocab_size)
    return torch.from_numpy(np.log(count_V / count_V.sum()).astype(np.float32))
