"""Rival with a uniform distribution: every token is equally likely after every context (label smoothing)."""

import numpy as np

from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.material import Material
from trainable.teacher.table import BigramTable, table_without_context


class UniformTeacher(BigramTeacher):
    """Teacher with a bigram table in which all rows are equal: 1/V for each token."""

    @classmethod
    def prepare(cls, material: Material) -> BigramTable:
        """Make the table; nothing is counted."""
        return table_without_context(
            np.full(material.vocab_size, 1 / material.vocab_size),
            smoothing="uniform",
            tokenizer_fingerprint=material.tokenizer_fingerprint,
            counted_tokens=0,
            rows="none",
        )
