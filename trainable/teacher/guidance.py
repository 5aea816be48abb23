"""The teacher at work beside a student: the rows E = P W of one optimizer step, and the gradient through them.

Row E[c] = sum_k p(k | c) W[k] is the output vector that the teacher expects after context c, which is all that the
guided loss needs of it: no distribution over the vocabulary is ever written out (student/guided_loss.py).

W does not change within an optimizer step, so E is computed once a step for the distinct contexts of that step, as a
leaf that asks for a gradient. Every micro-batch adds to E.grad; after the last one `close`
applies the chain rule through E by hand: W.grad += P^T E.grad.

    N tokens of a micro-batch   V vocabulary   D width   C distinct contexts of a step   K bigrams of those contexts
"""

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from trainable.teacher.table import BigramTable, cut_rows

PANEL = 256  # columns of W in one sparse product: at D 1024 its scattered rows then stay in the cache (half the time)


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """What the teacher says in one optimizer step, in the space of the output matrix."""

    weight: float  # w(t)
    expected_CxD: Tensor  # E, a leaf: backward passes of the micro-batches fill its .grad
    row_V: Tensor  # context id -> row of E (only ids of this step's contexts are meaningful)
    sparse_VxC: Tensor  # S^T in CSR, of the rows P = S + lambda q
    backoff_C: Tensor | None  # lambda; None where it is 0 for all contexts of the step
    base_V: Tensor  # q, the vector that all rows share

    @torch.no_grad()
    def close(self, output_VxD: torch.nn.Parameter) -> None:
        """Add P^T E.grad to the gradient of the output matrix; call once, after the last backward of the step."""
        grad_CxD = self.expected_CxD.grad
        assert grad_CxD is not None and output_VxD.grad is not None, "close() comes after backward()"
        grad_VxD = output_VxD.grad[: len(self.base_V)]
        # P^T E.grad = S^T E.grad + q (lambda E.grad), added in place
        torch.addmm(grad_VxD, self.sparse_VxC, grad_CxD, out=grad_VxD)
        if self.backoff_C is not None:
            grad_VxD.addr_(self.base_V, self.backoff_C @ grad_CxD)


class Teacher:
    """A bigram table at work beside a student: computes E for the contexts of each step."""

    def __init__(self, table: BigramTable, device: torch.device | str = "cpu"):
        self.table = table
        self.device = torch.device(device)
        self.base_V = torch.tensor(table.base_V, device=device)

    @torch.no_grad()
    def guide(self, output_VxD: Tensor, context_N: Tensor, weight: float) -> Guidance:
        """E for the distinct ids of `context_N`: all contexts of the optimizer step, whole numbers of any shape.

        `weight` is w(t). Raises InputError for an id outside the table's vocabulary.
        """
        output_VxD = output_VxD[: self.table.vocab_size]  # a model may have more rows than the tokenizer has tokens
        dtype = output_VxD.dtype

        # 1 which contexts: each distinct one once, and where it is found
        contexts_C = np.unique(context_N.cpu().numpy()).astype(np.int64)
        row_V = np.zeros(self.table.vocab_size, np.int64)
        row_V[contexts_C] = np.arange(len(contexts_C))

        # 2 cut their sparse rows, and transpose them for `close`: a product with a CSR's .t() is several times slower
        indptr_C1, columns_K, values_K = cut_rows(self.table, contexts_C, np.int32)
        size = (len(contexts_C), self.table.vocab_size)
        rows_CxV = scipy.sparse.csr_array((values_K, columns_K, indptr_C1.astype(np.int32)), shape=size)
        sparse_CxV, sparse_VxC = (_csr(matrix, dtype, self.device) for matrix in (rows_CxV, rows_CxV.T.tocsr()))

        # 3 E = S W + lambda (q W): the second term is one vector, shared by all rows
        expected_CxD = _product(sparse_CxV, output_VxD)
        base_V, backoff_C = self.base_V.to(dtype), None
        if self.table.backoff_V[contexts_C].any():
            backoff_C = torch.tensor(self.table.backoff_V[contexts_C], dtype=dtype, device=self.device)
            expected_CxD.addr_(backoff_C, base_V @ output_VxD)

        return Guidance(
            weight=weight,
            expected_CxD=expected_CxD.requires_grad_(),
            row_V=torch.from_numpy(row_V).to(self.device),
            sparse_VxC=sparse_VxC,
            backoff_C=backoff_C,
            base_V=base_V,
        )


def _csr(matrix: scipy.sparse.csr_array, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A SciPy matrix for PyTorch, in its form."""
    with warnings.catch_warnings():  # "CSR support is in beta"
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr),
            torch.from_numpy(matrix.indices),
            torch.from_numpy(matrix.data),
            size=matrix.shape,
            dtype=dtype,
            device=device,
        )


def _product(sparse_CxV: Tensor, dense_VxD: Tensor) -> Tensor:
    """Sparse times dense, a panel of columns at a time; one copy serves all panels: fresh ones fragment the heap."""
    if dense_VxD.shape[1] <= PANEL:
        return sparse_CxV @ dense_VxD
    product_CxD = dense_VxD.new_empty(len(sparse_CxV), dense_VxD.shape[1])
    copy_VxP = dense_VxD.new_empty(len(dense_VxD), PANEL)
    for first in range(0, dense_VxD.shape[1], PANEL):
        here = slice(first, first + PANEL)
        panel_VxP = dense_VxD[:, here]
        product_CxD[:, here] = sparse_CxV @ copy_VxP[:, : panel_VxP.shape[1]].copy_(panel_VxP)
    return product_CxD
