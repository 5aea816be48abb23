"""The teacher at work beside a student: the rows E = P W of one optimizer step, and the gradient through them.

Row E[c] = sum_k p(k | c) W[k] is the output vector that the teacher expects after context c, which is all that the
guided loss needs of it: no distribution over the vocabulary is ever written out (student/guided_loss.py).

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
    row_V: Tensor  # context id -> row of E (only ids of this step's contexts are meaningful)
    rows: HostRows | DeviceRows  # S, of the rows P = S + lambda q
    backoff_C: Tensor | None  # lambda; None where it is 0 for all contexts of the step
    base_V: Tensor  # q, the vector that all rows share

    @torch.no_grad()
    def close(self, output_VxD: torch.nn.Parameter) -> None:
        """Add P^T E.grad to the gradient of the output matrix; call once, after the last backward of the step."""
        grad_CxD = self.expected_CxD.grad
        assert grad_CxD is not None and output_VxD.grad is not None, "close() comes after backward()"
        grad_VxD = output_VxD.grad[: len(self.base_V)]
        # P^T E.grad = S^T E.grad + q (lambda E.grad), added in place
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
    def guide(self, output_VxD: Tensor, context_N: Tensor | np.ndarray, weight: float) -> Guidance:
        """E for the distinct ids of `context_N`: all contexts of the optimizer step, whole numbers of any shape.

        `weight` is w(t). With a GPU, give the ids as they lie on the host: those of a CUDA tensor are waited for.
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

        # 3 E = S W + lambda (q W): the second term is one vector, shared by all rows
        expected_CxD = rows.times(output_VxD)
        base_V, backoff_C = self.base_V.to(dtype), None
        if self.table.backoff_V[contexts_C].any():
            backoff_C = self.backoff_V[rows.contexts_C].to(dtype)
            expected_CxD.addr_(backoff_C, base_V @ output_VxD)

        return Guidance(
            weight=weight,
            expected_CxD=expected_CxD.requires_grad_(),
            row_V=row_V,
            rows=rows,
            backoff_C=backoff_C,
            base_V=base_V,
        )
