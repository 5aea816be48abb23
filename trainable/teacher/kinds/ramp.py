"""Rival without a distribution: the loss is (1 - w) times plain cross-entropy, so the text counts less at first."""

import numpy as np
from torch import Tensor

from trainable.teacher.teacher import Guidance, Teacher


class RampTeacher(Teacher):
    """Teacher without a distribution, which only takes its weight from the text."""

    def guide(
        self,
        output_VxD: Tensor,
        context: Tensor | np.ndarray,
        weight: float,
        bias_V: Tensor | None = None,
        *,
        blocks: np.ndarray | None = None,
        begins: np.ndarray | None = None,
    ) -> Guidance:
        """Return guidance with the weight alone."""
        return Guidance(weight=weight)
