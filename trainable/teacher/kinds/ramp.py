"""A control: no distribution at all. The loss is (1 - w) times plain cross-entropy: the text counts less at first."""

import numpy as np
from torch import Tensor

from trainable.teacher.teacher import Guidance, Teacher


class RampTeacher(Teacher):
    """A teacher that says nothing, and takes the weight that others would have."""

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
        """The weight alone."""
        return Guidance(weight=weight)
