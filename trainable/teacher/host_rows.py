"""A teacher's sparse rows on a CPU: SciPy transposes them, PyTorch's sparse products use them.

V vocabulary   D width   R distinct rows of a step   Z their non-zeros
"""

import warnings

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

PANEL = 256  # columns of W in one sparse product: at D 1024 its scattered rows then stay in the cache (half the time)


class HostRows:
    """The sparse part S of a step's rows, R of V numbers, and its two products."""

    def __init__(
        self, indptr_R1: np.ndarray, columns_Z: np.ndarray, values_Z: np.ndarray, vocab_size: int, dtype: torch.dtype
    ):
        size = (len(indptr_R1) - 1, vocab_size)
        rows_RxV = scipy.sparse.csr_array((values_Z, columns_Z, indptr_R1.astype(np.int32)), shape=size)
        # the transpose is written out: a product with a CSR's .t() is several times slower
        self.sparse_RxV, self.sparse_VxR = (_csr(matrix, dtype) for matrix in (rows_RxV, rows_RxV.T.tocsr()))

    def times(self, output_VxD: Tensor) -> Tensor:
        """S W, [R, D]: a panel of columns at a time; one copy serves all panels, fresh ones fragment the heap."""
        if output_VxD.shape[1] <= PANEL:
            return self.sparse_RxV @ output_VxD
        product_RxD = output_VxD.new_empty(len(self.sparse_RxV), output_VxD.shape[1])
        copy_VxP = output_VxD.new_empty(len(output_VxD), PANEL)
        for first in range(0, output_VxD.shape[1], PANEL):
            here = slice(first, first + PANEL)
            panel_VxP = output_VxD[:, here]
            product_RxD[:, here] = self.sparse_RxV @ copy_VxP[:, : panel_VxP.shape[1]].copy_(panel_VxP)
        return product_RxD

    def add_transposed(self, grad_VxD: Tensor, grad_RxD: Tensor) -> None:
        """grad_VxD += S^T grad_RxD, in place."""
        torch.addmm(grad_VxD, self.sparse_VxR, grad_RxD, out=grad_VxD)


def _csr(matrix: scipy.sparse.csr_array, dtype: torch.dtype) -> Tensor:
    """A SciPy matrix for PyTorch, in its form."""
    with warnings.catch_warnings():  # "CSR support is in beta"
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr),
            torch.from_numpy(matrix.indices),
            torch.from_numpy(matrix.data),
            size=matrix.shape,
            dtype=dtype,
        )
