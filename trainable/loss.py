"""The guided loss, exactly, without a dense target.

With h a hidden state, W the output matrix, c the previous token, y the target and w the teacher's weight:

    - sum_k (w p(k|c) + (1-w) [k=y]) log softmax(W h)_k  =  CE(W h, y) + w <h, W[y] - E[c]>,   E[c] = sum_k p(k|c) W[k]

because sum_k p(k|c) = 1 makes the log-partition terms cancel. W does not change within an optimizer step, so E = P W
is computed once a step for the distinct contexts of that step, as a leaf that asks for a gradient; every micro-batch
adds to E.grad, and after the last one the chain rule through E is closed by hand: W.grad += P^T E.grad.

    N tokens of a micro-batch   V vocabulary   D width   C distinct contexts of a step   K bigrams of those contexts
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainable.bigram import BigramTable, cut_rows

IGNORE_INDEX = -100


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """What the teacher says in one optimizer step, in the space of the output matrix."""

    weight: float  # w(t)
    expected_CxD: Tensor  # E, a leaf: backward passes of the micro-batches fill its .grad
    row_V: Tensor  # context id -> row of E (only ids of this step's contexts are meaningful)
    sparse_CxV: Tensor  # CSR part of P
    backoff_C: Tensor  # lambda(c): P = sparse + backoff * base
    base_V: Tensor  # q

    @torch.no_grad()
    def close(self, output_VxD: torch.nn.Parameter) -> None:
        """Add P^T E.grad to the gradient of the output matrix; call once, after the last backward of the step."""
        grad_CxD = self.expected_CxD.grad
        assert grad_CxD is not None and output_VxD.grad is not None, "close() comes after backward()"
        size = self.base_V.shape[0]  # a model may have more rows than the tokenizer has tokens
        output_VxD.grad[:size] += self.sparse_CxV.t() @ grad_CxD
        output_VxD.grad[:size] += torch.outer(self.base_V, self.backoff_C @ grad_CxD)


class Teacher:
    """A bigram table at work beside a student: computes E for the contexts of each step."""

    def __init__(self, table: BigramTable, device: torch.device):
        self.table = table
        self.device = device
        self.backoff_V = torch.tensor(table.backoff_V, device=device)
        self.base_V = torch.tensor(table.base_V, device=device)

    @torch.no_grad()
    def guide(self, output_VxD: Tensor, context_N: np.ndarray, weight: float) -> Guidance:
        """E for the distinct ids of `context_N` (any integer array with all contexts of the optimizer step)."""
        contexts_C = np.unique(context_N).astype(np.int64)
        output_VxD = output_VxD[: self.table.vocab_size]
        index_C = torch.from_numpy(contexts_C).to(self.device)
        sparse_CxV = self._rows(contexts_C, output_VxD.dtype)
        backoff_C = self.backoff_V[index_C].to(output_VxD.dtype)
        base_V = self.base_V.to(output_VxD.dtype)
        expected_CxD = sparse_CxV @ output_VxD + torch.outer(backoff_C, base_V @ output_VxD)
        row_V = torch.zeros(self.table.vocab_size, dtype=torch.int64, device=self.device)
        row_V[index_C] = torch.arange(len(contexts_C), device=self.device)
        return Guidance(
            weight=weight,
            expected_CxD=expected_CxD.requires_grad_(),
            row_V=row_V,
            sparse_CxV=sparse_CxV,
            backoff_C=backoff_C,
            base_V=base_V,
        )

    def _rows(self, contexts_C: np.ndarray, dtype: torch.dtype) -> Tensor:
        indptr, indices_K, values_K = cut_rows(self.table, contexts_C, np.int32)
        with warnings.catch_warnings():  # "CSR support is in beta"
            warnings.simplefilter("ignore", UserWarning)
            return torch.sparse_csr_tensor(
                torch.from_numpy(indptr.astype(np.int32)),
                torch.from_numpy(indices_K),
                torch.from_numpy(values_K),
                size=(len(contexts_C), self.table.vocab_size),
                dtype=dtype,
                device=self.device,
            )


def guided_loss(
    hidden_NxD: Tensor, output_VxD: Tensor, context_N: Tensor, target_N: Tensor, guidance: Guidance | None
) -> Tensor:
    """Summed guided cross-entropy in nats over the positions whose target is not IGNORE_INDEX.

    Plain cross-entropy where `guidance` is None. Under autocast the matrix product is in low precision, everything
    after it in float32. `context_N` and `target_N` are int64 ids.
    """
    logits_NxV = F.linear(hidden_NxD, output_VxD)
    precise = torch.promote_types(logits_NxV.dtype, torch.float32)
    loss = F.cross_entropy(logits_NxV.to(precise), target_N, ignore_index=IGNORE_INDEX, reduction="sum")
    if guidance is None:
        return loss
    return loss + guidance.weight * _teacher_term(hidden_NxD, output_VxD, context_N, target_N, guidance)


def _teacher_term(
    hidden_NxD: Tensor, output_VxD: Tensor, context_N: Tensor, target_N: Tensor, guidance: Guidance
) -> Tensor:
    """sum over positions of <h, W[y] - E[c]>."""
    counted_N = target_N != IGNORE_INDEX
    target_rows_NxD = F.embedding(target_N.clamp(min=0), output_VxD)
    expected_NxD = F.embedding(guidance.row_V[context_N], guidance.expected_CxD)
    difference_NxD = (target_rows_NxD - expected_NxD) * counted_N.unsqueeze(1)
    return (hidden_NxD.to(difference_NxD.dtype) * difference_NxD).sum()
