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
PIECE = 4096  # rows of S^T in one product, which is then added: a product of all V rows fragments the heap at D 1024


class HostRows:
    """The sparse part S [R, V] of a step's rows, and its two products."""

    def __init__(
        self, indptr_R1: np.ndarray, columns_Z: np.ndarray, values_Z: np.ndarray, vocab_size: int, dtype: torch.dtype
    ):
        size = (len(indptr_R1) - 1, vocab_size)
        rows_RxV = scipy.sparse.csr_array((values_Z, columns_Z, indptr_R1.astype(np.int32)), shape=size)
        self.bags = _Bags.of(rows_RxV.indptr, rows_RxV.indices, rows_RxV.data, dtype)
        columns = rows_RxV.tocsc()  # the columns of S are the rows of S^T
        self.pieces = [
            (
                slice(first, first + PIECE),
                _Bags.of(columns.indptr[first : first + PIECE + 1], columns.indices, columns.data, dtype),
            )
            for first in range(0, vocab_size, PIECE)
        ]

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
        """Compute grad_VxD += S^T grad_RxD, in place, by panels of columns and pieces of rows."""
        for first in range(0, grad_RxD.shape[1], PANEL):
            here = slice(first, first + PANEL)
            panel_RxP = grad_RxD[:, here].contiguous()
            for rows, bags in self.pieces:
                grad_VxD[rows, here] += bags.times(panel_RxP)


class _Bags(NamedTuple):
    """Rows of a sparse matrix: each row of their product is a weighted sum of rows of the other factor."""

    first: Tensor  # int32: where each row begins, and where the last one ends
    columns_Z: Tensor  # int32
    values_Z: Tensor

    @classmethod
    def of(cls, indptr: np.ndarray, columns_Z: np.ndarray, values_Z: np.ndarray, dtype: torch.dtype) -> "_Bags":
        """Neighbouring rows of a CSR matrix, with values of `dtype`; `indptr` is cut to these rows."""
        here = slice(indptr[0], indptr[-1])
        values = torch.from_numpy(values_Z[here]).to(dtype)
        return cls(torch.from_numpy(indptr - indptr[0]), torch.from_numpy(columns_Z[here]), values)

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
