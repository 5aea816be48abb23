"""Bigram tables of a few tokens, and their rows written out in full. V vocabulary, N pairs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.teacher.counts import BigramCounts, count_bigrams
from trainable.teacher.table import BigramTable

V = 9
EOS = 2
IDS: dict[str, Any] = {"tokenizer_fingerprint": "abc", "rows": "student"}


def counted(tokens: Any, vocab_size: int = V) -> BigramCounts:
    """The bigrams of a stream, the first of which follows an eos."""
    return count_bigrams(np.array(tokens, np.uint16), vocab_size, first_context=EOS)


def random_stream(seed: int = 0, length: int = 400) -> NDArray[np.int64]:
    """A random stream, skewed enough for counts of 1 to 4 and more; tokens V - 1 and V - 2 never occur."""
    return np.random.default_rng(seed).zipf(1.5, length) % (V - 2)


def dense(table: BigramTable) -> NDArray[np.float64]:
    """All rows of a table, [V, V]."""
    return np.array([table.row(c) for c in range(table.vocab_size)])


def all_pairs(vocab_size: int = V) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every context with every next token."""
    return np.divmod(np.arange(vocab_size**2), vocab_size)
