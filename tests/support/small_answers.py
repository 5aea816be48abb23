"""Answers of an untrained model: random distributions for a few blocks. V tokens, N positions."""

from typing import Any

import numpy as np

from trainable.teacher.answers import Answers, kept
from trainable.teacher.counts import count_bigrams
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import BigramTable, column_dtype

V = 13
BLOCKS, POSITIONS = 6, 9


def distributions(
    shape: tuple[int, ...] = (BLOCKS, POSITIONS), vocab_size: int = V, seed: int = 0, sharp: float = 2.0
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Softmax of random logits, float32 [*shape, V]; a larger `sharp` puts more of it on one token."""
    logits = np.random.default_rng(seed).normal(size=(*shape, vocab_size)) * sharp
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return (p / p.sum(-1, keepdims=True)).astype(np.float32)


def parent_of(vocab_size: int = V) -> BigramTable:
    """A table of bigrams of random tokens; with many tokens, most of them have no bigrams."""
    stream_N = np.random.default_rng(7).integers(0, min(vocab_size, V), 60)
    counts = count_bigrams(stream_N, vocab_size, first_context=0)
    return estimate_table(counts, "witten_bell", tokenizer_fingerprint="abc")


def answers_of(
    p_BxTxV: np.ndarray[Any, Any] | None = None, top_k: int = 4, blocks_fingerprint: str = "blocks"
) -> Answers:
    """The likeliest tokens of each distribution, and a random bigram table for the rest."""
    p_BxTxV = distributions() if p_BxTxV is None else p_BxTxV
    vocab_size = p_BxTxV.shape[-1]
    ids_BxTxk = np.argsort(-p_BxTxV, axis=-1, kind="stable")[..., :top_k]
    p_BxTxk = np.take_along_axis(p_BxTxV, ids_BxTxk, -1)
    return Answers(
        ids_BxTxk=ids_BxTxk.astype(column_dtype(vocab_size)),
        p_BxTxk=kept(p_BxTxk.reshape(-1, top_k)).reshape(p_BxTxk.shape),
        parent=parent_of(vocab_size),
        vocab_size=vocab_size,
        model="model of 1 layer, width 8",
        tokenizer_fingerprint="abc",
        blocks_fingerprint=blocks_fingerprint,
        counted_tokens=123,
    )
