"""The teacher at work beside a student: the rows E = P W of one optimizer step, and the gradient through them.

Row E[c] = sum_k p(k | c) W[k] is the output vector that the teacher expects after context c, which is all that the
guided loss needs of it: no distribution over the vocabulary is ever written out (student/guided_loss.py). Where the
output layer has a bias b, the bias expected is B = P b: b is one more column of W.

W does not change within an optimizer step, so E is computed once a step for the distinct contexts of that step, as a
leaf that asks for a gradient. Every micro-batch adds to E.grad; after the last one `close`
applies the chain rule through E by hand: W.grad += P^T E.grad.

    N tokens of a micro-batch   V vocabulary   D width   C distinct contexts of a step   K bigrams of those contexts
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainable.teacher.device_rows import DeviceRows, DeviceTable
from trainable.teacher.host_rows import HostRows
from trainable.teacher.table import BigramTable, check_ids


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """What the teacher says in one optimizer step, in the space of the output matrix."""

    weight: float  # w(t)
    expected_CxD: Tensor  # E, a leaf: backward passes of the micro-batches fill its .grad
    expected_bias_C: Tensor | None  # B, a leaf too; None: the output layer has no bias
    row_V: Tensor  # context id -> row of E (only ids of this step's contexts are meaningful)
    rows: HostRows | DeviceRows  # S, of the rows P = S + lambda q
    backoff_C: Tensor | None  # lambda; None where it is 0 for all contexts of the step
    base_V: Tensor  # q, the vector that all rows share

    def close(self, output_VxD: torch.nn.Parameter, bias_V: torch.nn.Parameter | None = None) -> None:
        """Add P^T E.grad to the gradient of the output matrix, and P^T B.grad to that of its bias, if it has one.

        Call it once, after the last backward of the step.
        """
        assert output_VxD.grad is not None and self.expected_CxD.grad is not None, "close() comes after backward()"
        self._add_transposed(output_VxD.grad, self.expected_CxD.grad)
        if bias_V is not None:
            assert self.expected_bias_C is not None, "guide() was not told of the bias"
            assert bias_V.grad is not None and self.expected_bias_C.grad is not None
            self._add_transposed(bias_V.grad.unsqueeze(1), self.expected_bias_C.grad.unsqueeze(1))

    @torch.no_grad()
    def _add_transposed(self, grad_VxD: Tensor, grad_CxD: Tensor) -> None:
        """grad_VxD += P^T grad_CxD, in place: S^T grad_CxD + q (lambda grad_CxD)."""
        grad_VxD = grad_VxD[: len(self.base_V)]
        self.rows.add_transposed(grad_VxD, grad_CxD)
        if self.backoff_C is not None:
            grad_VxD.addr_(self.base_V, self.backoff_C @ grad_CxD)


class Teacher:
    """A bigram table at work beside a student: computes E for the contexts of each step.

    On a CPU sparse products are the fastest; a GPU keeps the table, and makes its products in bfloat16 where `product`
    says so (as autocast does with the student's), else in the type of the weights.
    """

    def __init__(
        self, table: BigramTable, device: torch.device | str = "cpu", *, product: torch.dtype | None = None
    ) -> None:
        self.table = table
        self.device = torch.device(device)
        self.base_V = torch.tensor(table.base_V, device=device)
        self.backoff_V = torch.tensor(table.backoff_V, device=device)
        self.on_device = DeviceTable(table, self.device, product) if self.device.type == "cuda" else None

    @torch.no_grad()
    def guide(
        self, output_VxD: Tensor, context_N: Tensor | np.ndarray, weight: float, bias_V: Tensor | None = None
    ) -> Guidance:
        """E for the distinct ids of `context_N`: all contexts of the optimizer step, whole numbers of any shape.

        `weight` is w(t), `bias_V` the bias of the output layer, if it has one. With a GPU, give the ids as they lie on
        the host: those of a CUDA tensor are waited for.
        Raises InputError for an id outside the table's vocabulary.
        """
        output_VxD = output_VxD[: self.table.vocab_size]  # a model may have more rows than the tokenizer has tokens
        dtype = output_VxD.dtype

        # 1 which contexts: each distinct one once
        ids_N = (context_N if isinstance(context_N, np.ndarray) else context_N.cpu().numpy()).reshape(-1)
        check_ids(self.table, ids_N)
        occurs_V = np.zeros(self.table.vocab_size, bool)
        occurs_V[ids_N] = True
        contexts_C = np.flatnonzero(occurs_V)

        # 2 cut their sparse rows; where each context's row is found
        rows: HostRows | DeviceRows
        if self.on_device is None:
            rows = HostRows(self.table, contexts_C, dtype)
        else:
            rows = self.on_device.cut(contexts_C, dtype)
        row_V = torch.zeros(self.table.vocab_size, dtype=torch.int64, device=self.device)
        row_V[rows.contexts_C] = torch.arange(len(contexts_C), device=self.device)

        # 3 E = S W + lambda (q W): the second term is one vector, shared by all rows; B is the same of b
        base_V, backoff_C = self.base_V.to(dtype), None
        if self.table.backoff_V[contexts_C].any():
            backoff_C = self.backoff_V[rows.contexts_C].to(dtype)

        def expected(matrix_VxD: Tensor) -> Tensor:
            product_CxD = rows.times(matrix_VxD)
            return product_CxD if backoff_C is None else product_CxD.addr_(backoff_C, base_V @ matrix_VxD)

        bias_C = None if bias_V is None else expected(bias_V[: len(base_V)].unsqueeze(1)).squeeze(1)
        return Guidance(
            weight=weight,
            expected_CxD=expected(output_VxD).requires_grad_(),
            expected_bias_C=None if bias_C is None else bias_C.requires_grad_(),
            row_V=row_V,
            rows=rows,
            backoff_C=backoff_C,
            base_V=base_V,
        )
