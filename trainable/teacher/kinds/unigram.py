"""A control: every context is followed by the unigram distribution of next tokens (maximum likelihood)."""

import numpy as np

from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.material import Material
from trainable.teacher.smoothing import require_counts
from trainable.teacher.table import BigramTable, table_without_context


class UnigramTeacher(BigramTeacher):
    """A bigram table whose rows are all the same: how often each token occurs."""

    @classmethod
    def prepare(cls, material: Material) -> BigramTable:
        """The table of the counts' next tokens."""
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
