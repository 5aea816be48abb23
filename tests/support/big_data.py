"""Blocks, tables and prepared data of a given size, with arbitrary content."""

from hashlib import sha256
from pathlib import Path

import numpy as np

from trainable.prepare import Prepared
from trainable.teacher.table import BigramTable
from trainable.text.blocks import TokenBlocks


def big_table(values: int) -> BigramTable:
    """A table whose arrays take about 6 bytes a value."""
    vocabulary = 1000
    return BigramTable(
        indptr=np.linspace(0, values, vocabulary + 1).astype(np.int64),
        indices=np.zeros(values, np.uint16),
        values=np.ones(values, np.float32),
        backoff_V=np.zeros(vocabulary, np.float32),
        base_V=np.full(vocabulary, 1 / vocabulary, np.float32),
        vocab_size=vocabulary,
        smoothing="mle",
        strength=None,
        tokenizer_fingerprint="t",
        counted_tokens=values,
        rows="student",
    )


def big_blocks(tokens: int) -> TokenBlocks:
    stream_N = np.arange(tokens, dtype=np.uint16)
    ids_BxT = stream_N[: tokens // 128 * 128].reshape(-1, 128)
    return TokenBlocks(ids_BxT, stream_N, None, 0, None, 1000, 1, 0, "f", sha256(stream_N.data).hexdigest(), Path())


def prepared(mib: int) -> Prepared:
    """Tokens of the given size, and a small table."""
    return Prepared({"k": (big_blocks(mib * 2**19), big_blocks(256))}, {"t": big_table(1000)}, {})
