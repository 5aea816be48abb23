"""A teacher's sparse rows S on a CPU, with the products S W and S^T G, both as embedding bags.

An embedding bag takes 0.6 to 0.8 of the time of PyTorch's sparse product for S W (V 4,096 to 32,000, D 128 to 1,024,
one thread, float32), and 0.4 to 0.5 of it for S^T G (the same sizes; AMD EPYC).

V vocabulary   D width   P width of a panel   R distinct rows of a step   Z non-zeros of these rows
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

PANEL = 256  # columns of W in one product: with so few, the rows of W stay in the CPU's cache also at D 1024


class HostRows:
    """The sparse part S [R, V] of a step's rows, and its two products."""

    def __init__(
        self, indptr_R1: np.ndarray, columns_Z: np.ndarray, values_Z: np.ndarray, vocab_size: int, dtype: torch.dtype
    ):
        size = (len(indptr_R1) - 1, vocab_size)
        rows_RxV = scipy.sparse.csr_array((values_Z, columns_Z, indptr_R1.astype(np.int32)), shape=size)
        self.bags = _Bags.of(rows_RxV, dtype)
        self.transposed = _Bags.of(rows_RxV.tocsc(), dtype)  # the arrays of S^T by rows

    def times(self, output_VxD: Tensor) -> Tensor:
        """Return S W, [R, D], computed by panels of columns. All panels use one buffer; new ones fragment the heap."""
        if output_VxD.shape[1] <= PANEL:
            return self.bags.times(output_VxD)
        product_RxD = output_VxD.new_empty(self.bags.rows, output_VxD.shape[1])
        copy_VxP = output_VxD.new_empty(len(output_VxD), PANEL)
        for first in range(0, output_VxD.shape[1], PANEL):
            here = slice(first, first + PANEL)
            panel_VxP = output_VxD[:, here]
            is_whole = panel_VxP.shape[1] == PANEL
            product_RxD[:, here] = self.bags.times(copy_VxP.copy_(panel_VxP) if is_whole else panel_VxP.contiguous())
        return product_RxD

    def add_transposed(self, grad_VxD: Tensor, grad_RxD: Tensor) -> None:
        """Compute grad_VxD += S^T grad_RxD, in place, by panels of columns."""
        for first in range(0, grad_RxD.shape[1], PANEL):
            here = slice(first, first + PANEL)
            grad_VxD[:, here] += self.transposed.times(grad_RxD[:, here].contiguous())


class _Bags(NamedTuple):
    """A sparse matrix by rows: each row of a product with it is a weighted sum of rows of the other factor."""

    first: Tensor  # int32: where each row begins, and where the last one ends
    columns_Z: Tensor  # int32
    values_Z: Tensor

    @classmethod
    def of(cls, matrix: scipy.sparse.csr_array | scipy.sparse.csc_array, dtype: torch.dtype) -> "_Bags":
        first, columns_Z, values_Z = map(torch.from_numpy, (matrix.indptr, matrix.indices, matrix.data))
        return cls(first, columns_Z, values_Z.to(dtype))

    @property
    def rows(self) -> int:
        return len(self.first) - 1

    def times(self, matrix: Tensor) -> Tensor:
        """Return the product with a contiguous matrix."""
        return F.embedding_bag(
            self.columns_Z,
            matrix,
            self.first,
            mode="sum",
            per_sample_weights=self.values_Z,
            include_last_offset=True,
        )
