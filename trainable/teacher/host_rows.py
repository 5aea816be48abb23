"""A teacher's sparse rows on a CPU: SciPy cuts and transposes them, PyTorch's sparse products use them.

V vocabulary   D width   C distinct contexts of a step
"""

import warnings

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from trainable.teacher.table import BigramTable, cut_rows

PANEL = 256  # columns of W in one sparse product: at D 1024 its scattered rows then stay in the cache (half the time)


class HostRows:
    """The sparse part S of a table's rows for some contexts, C of V numbers, and its two products."""

    def __init__(self, table: BigramTable, contexts_C: np.ndarray, dtype: torch.dtype):
        self.contexts_C = torch.from_numpy(contexts_C)
        indptr_C1, columns_Z, values_Z = cut_rows(table, contexts_C, np.int32)
        size = (len(contexts_C), table.vocab_size)
        rows_CxV = scipy.sparse.csr_array((values_Z, columns_Z, indptr_C1.astype(np.int32)), shape=size)
        # the transpose is written out: a product with a CSR's .t() is several times slower
        self.sparse_CxV, self.sparse_VxC = (_csr(matrix, dtype) for matrix in (rows_CxV, rows_CxV.T.tocsr()))

    def times(self, output_VxD: Tensor) -> Tensor:
        """S W, [C, D]: a panel of columns at a time; one copy serves all panels, fresh ones fragment the heap."""
        if output_VxD.shape[1] <= PANEL:
            return self.sparse_CxV @ output_VxD
        product_CxD = output_VxD.new_empty(len(self.sparse_CxV), output_VxD.shape[1])
        copy_VxP = output_VxD.new_empty(len(output_VxD), PANEL)
        for first in range(0, output_VxD.shape[1], PANEL):
            here = slice(first, first + PANEL)
            panel_VxP = output_VxD[:, here]
            product_CxD[:, here] = self.sparse_CxV @ copy_VxP[:, : panel_VxP.shape[1]].copy_(panel_VxP)
        return product_CxD

    def add_transposed(self, grad_VxD: Tensor, grad_CxD: Tensor) -> None:
        """grad_VxD += S^T grad_CxD, in place."""
        torch.addmm(grad_VxD, self.sparse_VxC, grad_CxD, out=grad_VxD)


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
