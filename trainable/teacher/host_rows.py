"""A teacher's sparse rows S on a CPU, with the products S W (embedding bags) and S^T G (a sparse product).

For S W an embedding bag takes 0.6 to 0.8 of the time of PyTorch's sparse product (V 4,096 to 32,000, D 128 to 1,024,
one thread, float32). For S^T G, where a row has few non-zeros, the sparse product is as fast, and it adds in place.

V vocabulary   D width   R distinct rows of a step   Z non-zeros of these rows
"""

import warnings

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
        self.first_R1, self.columns_Z, values_Z32 = map(
            torch.from_numpy, (rows_RxV.indptr, rows_RxV.indices, rows_RxV.data)
        )
        self.values_Z = values_Z32.to(dtype)
        # the transpose is stored too: a product with a CSR's .t() is several times slower
        self.sparse_VxR = _csr(rows_RxV.T.tocsr(), dtype)

    def times(self, output_VxD: Tensor) -> Tensor:
        """Return S W, [R, D], computed by panels of columns. All panels use one buffer; new ones fragment the heap."""
        if output_VxD.shape[1] <= PANEL:
            return self._bags(output_VxD)
        product_RxD = output_VxD.new_empty(len(self.first_R1) - 1, output_VxD.shape[1])
        copy_VxP = output_VxD.new_empty(len(output_VxD), PANEL)
        for first in range(0, output_VxD.shape[1], PANEL):
            here = slice(first, first + PANEL)
            panel_VxP = output_VxD[:, here]
            is_whole = panel_VxP.shape[1] == PANEL
            product_RxD[:, here] = self._bags(copy_VxP.copy_(panel_VxP) if is_whole else panel_VxP.contiguous())
        return product_RxD

    def add_transposed(self, grad_VxD: Tensor, grad_RxD: Tensor) -> None:
        """Compute grad_VxD += S^T grad_RxD, in place."""
        torch.addmm(grad_VxD, self.sparse_VxR, grad_RxD, out=grad_VxD)

    def _bags(self, matrix_VxP: Tensor) -> Tensor:
        """Return S times a contiguous matrix, [R, P]: each row is a weighted sum of rows of the matrix."""
        weights_Z, first_R1 = self.values_Z, self.first_R1
        return F.embedding_bag(
            self.columns_Z, matrix_VxP, first_R1, mode="sum", per_sample_weights=weights_Z, include_last_offset=True
        )


def _csr(matrix: scipy.sparse.csr_array, dtype: torch.dtype) -> Tensor:
    """Convert a SciPy CSR matrix to a PyTorch CSR matrix, with values of `dtype`."""
    with warnings.catch_warnings():  # "CSR support is in beta"
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr),
            torch.from_numpy(matrix.indices),
            torch.from_numpy(matrix.data),
            size=matrix.shape,
            dtype=dtype,
        )
