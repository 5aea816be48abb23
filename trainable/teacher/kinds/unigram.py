"""Rival with the unigram distribution of next tokens (maximum likelihood) after every context."""

import numpy as np

from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.material import Material
from trainable.teacher.smoothing import require_counts
from trainable.teacher.table import BigramTable, table_without_context


class UnigramTeacher(BigramTeacher):
    """Teacher with a bigram table in which all rows are equal: the relative frequency of each token."""

    @classmethod
    def prepare(cls, material: Material) -> BigramTable:
        """Make the table from the next tokens of the counts."""
        counts = material.counts()
        require_counts(counts)
        occurrences_V = np.bincount(counts.next_K, counts.counts_K, counts.vocab_size)
        return table_without_context(
            occurrences_V / occurrences_V.sum(),
            smoothing="unigram",
            tokenizer_fingerprint=material.tokenizer_fingerprint,
            counted_tokens=counts.total,
            rows=material.rows,
        )
