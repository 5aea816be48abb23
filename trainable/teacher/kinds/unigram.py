"""A control: every context is followed by the unigram distribution of next tokens (maximum likelihood)."""

import numpy as np

from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.material import Material
from trainable.teacher.smoothing import require_counts
from trainable.teacher.table import BigramTable, column_dtype


class UnigramTeacher(BigramTeacher):
    """A bigram table whose rows are all the same: how often each token occurs."""

    @classmethod
    def prepare(cls, material: Material) -> BigramTable:
        """The table of the counts' next tokens."""
        counts = material.counts()
        require_counts(counts)
        occurrences_V = np.bincount(counts.next_K, counts.counts_K, counts.vocab_size)
        return without_context(material, "unigram", occurrences_V / occurrences_V.sum(), material.rows, counts.total)


def without_context(material: Material, name: str, base_V: np.ndarray, rows: str, counted_tokens: int) -> BigramTable:
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
