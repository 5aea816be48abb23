"""A control: no distribution at all. The loss is (1 - w) times plain cross-entropy: the text counts less at first."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainable.teacher.material import Material
from trainable.teacher.teacher import Guidance, StepRows, Table, Teacher


class RampTeacher(Teacher):
    """A teacher that says nothing, and takes the weight that others would have."""

    has_table = False

    @classmethod
    def prepare(cls, material: Material) -> Table:
        """Nothing."""
        raise NotImplementedError("a ramp has no table")

    def rows(self, context: np.ndarray, blocks: np.ndarray | None, dtype: torch.dtype) -> StepRows:
        """No rows."""
        raise NotImplementedError("a ramp has no distribution")

    def guide(self, output_VxD: Tensor, context: Any, weight: float, *_: Any, **__: Any) -> Guidance:
        """The weight alone."""
        return Guidance(weight=weight)
