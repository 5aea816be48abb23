"""A control: every token is equally likely after every context (label smoothing, as a teacher)."""

import numpy as np

from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.kinds.unigram import without_context
from trainable.teacher.material import Material
from trainable.teacher.table import BigramTable


class UniformTeacher(BigramTeacher):
    """A bigram table whose rows are all the same: 1/V for each token."""

    @classmethod
    def prepare(cls, material: Material) -> BigramTable:
        """The table; nothing is counted."""
        base_V = np.full(material.vocab_size, 1 / material.vocab_size)
        return without_context(material, "uniform", base_V, rows="none", counted_tokens=0)
