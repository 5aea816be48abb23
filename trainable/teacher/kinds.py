"""What a teacher may know: bigrams, or less, as a sceptic asks (would any soft target do?).

To add a kind, add an entry to KINDS: settings and command lines take their choices from its keys. A kind that is a
sceptic's rival of the others stands in names.CONTENT_FREE too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from trainable.teacher.counts import BigramCounts
from trainable.teacher.smoothing import estimate_table, require_counts
from trainable.teacher.table import BigramTable, column_dtype, cut_rows

SHUFFLE_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a teacher's table may be made from."""

    counts: Callable[[], BigramCounts]  # counts when it is called: a teacher that needs none is not kept waiting
    vocab_size: int
    tokenizer_fingerprint: str
    rows: str  # which rows of text are counted, e.g. "student"
    smoothing: str = "mle"  # a key of SMOOTHINGS
    strength: float | None = None  # of the smoothing; None: its default
    min_count: int = 1  # bigrams seen fewer times leave the table


def bigram(material: Material) -> BigramTable:
    """Smoothed bigrams: the teacher that this project asks about."""
    return estimate_table(
        material.counts(),
        material.smoothing,
        material.strength,
        min_count=material.min_count,
        tokenizer_fingerprint=material.tokenizer_fingerprint,
        rows=material.rows,
    )


def unigram(material: Material) -> BigramTable:
    """A control: every context is followed by the unigram distribution of next tokens (maximum likelihood)."""
    counts = material.counts()
    require_counts(counts)
    occurrences_V = np.bincount(counts.next_K, counts.counts_K, counts.vocab_size)
    return _without_context(material, "unigram", occurrences_V / occurrences_V.sum(), material.rows, counts.total)


def uniform(material: Material) -> BigramTable:
    """A control: every token is equally likely after every context (label smoothing, as a teacher)."""
    base_V = np.full(material.vocab_size, 1 / material.vocab_size)
    return _without_context(material, "uniform", base_V, rows="none", counted_tokens=0)


def shuffled(table: BigramTable, seed: int) -> BigramTable:
    """A control: each context that was seen gets the row of another; only the pairing of context and row is lost.

    The seen contexts are passed round one random cycle, so no context keeps its own row (unless only one was seen).
    """
    seen = np.flatnonzero(np.diff(table.indptr))
    order = np.random.default_rng(seed).permutation(seen)
    source_V = np.arange(table.vocab_size)
    source_V[order] = np.roll(order, 1)
    indptr, indices, values = cut_rows(table, source_V, table.indices.dtype)
    return replace(
        table,
        indptr=indptr,
        indices=indices,
        values=values,
        backoff_V=table.backoff_V[source_V],
        smoothing=f"shuffled {table.smoothing}, seed {seed}",
    )


KINDS: dict[str, Callable[[Material], BigramTable] | None] = {  # None: no table
    "bigram": bigram,
    "shuffled": lambda material: shuffled(bigram(material), SHUFFLE_SEED),
    "unigram": unigram,
    "uniform": uniform,
    "ramp": None,  # (1 - w) times plain cross-entropy: the student hears less of the text at first, and of nothing else
}


def _without_context(material: Material, name: str, base_V: np.ndarray, rows: str, counted_tokens: int) -> BigramTable:
    """A table of one distribution, the shared vector, for all contexts."""
    return BigramTable(
        indptr=np.zeros(len(base_V) + 1, np.int64),
        indices=np.zeros(0, column_dtype(len(base_V))),
        values=np.zeros(0, np.float32),
        backoff_V=np.ones(len(base_V), np.float32),
        base_V=base_V.astype(np.float32),
        vocab_size=len(base_V),
        smoothing=name,
        strength=None,
        tokenizer_fingerprint=material.tokenizer_fingerprint,
        counted_tokens=counted_tokens,
        rows=rows,
    )
