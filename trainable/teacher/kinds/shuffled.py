"""Rival with permuted rows of bigrams: only the pairing of context and row is lost."""

from dataclasses import replace

import numpy as np

from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.material import Material
from trainable.teacher.table import BigramTable, cut_rows

SHUFFLE_SEED = 0


class ShuffledTeacher(BigramTeacher):
    """Teacher with a bigram table in which each context that was seen has the row of another."""

    @classmethod
    def prepare(cls, material: Material) -> BigramTable:
        """Make the table of the bigram teacher, and permute its rows."""
        return shuffled(super().prepare(material), SHUFFLE_SEED)


def shuffled(table: BigramTable, seed: int) -> BigramTable:
    """Return a copy of the table with the rows of the seen contexts permuted.

    The permutation is one random cycle, so no context keeps its own row (unless only one context was seen).
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
