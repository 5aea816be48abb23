"""The output layer and its cross-entropy, a chunk of positions at a time: the logits of a batch never exist at once.

Logits are the largest tensor of a small model: [N, V], twice (log-probabilities and their gradient), read from and
written to memory several times. Here a chunk of positions goes through forward *and* backward while it is in the
cache, as in Cut Your Losses (Wijmans et al., 2024) and Liger Kernel (Hsu et al., 2024): gradients are made in the
forward pass, and backward only scales them. torch's own F.linear_cross_entropy does this for hard targets. This one
also takes a target of weight below 1, which is all that the guided loss needs (student/guided_loss.py).

    N positions of a micro-batch   n positions of a chunk   V vocabulary   D width   C distinct contexts of a step
"""

import logging
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from trainable.errors import first_line
from trainable.teacher.products import add_product

_log = logging.getLogger(__name__)
Inputs = ParamSpec("Inputs")
Made = TypeVar("Made")
LossesOf = Callable[[Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
IGNORE_INDEX = -100
CHUNK = {"cpu": 256, "cuda": 8192}  # positions of a chunk; measured on a CPU (2 MiB of cache a core) and on an H100
PAGE, PADDING = 4096, 64  # bytes: rows of logits of whole pages get a cache line more, on a CPU


class Expected(NamedTuple):
    """Expectations E and B of the output layer under a teacher, and the row of each position in them.

    A backward pass adds in place to E.grad and B.grad, only at the rows of its positions. Autograd would make a
    gradient of all rows for each micro-batch, although a step has many rows and a micro-batch uses few of them.
    """

    weight: float  # w
    row_N: Tensor  # number of each position's row in E and B
    expected_CxD: Tensor  # E
    expected_bias_C: Tensor | None  # B; None: the output layer has no bias


def chunked_cross_entropy(
    hidden_NxD: Tensor,
    output_VxD: Tensor,
    target_N: Tensor,
    bias_V: Tensor | None = None,
    expected: Expected | None = None,
) -> Tensor:
    """Sum over positions of logsumexp(z) - (1 - w) z[y] - w (<h, E[row]> + B[row]), z = W h + b, in nats.

    Without `expected` it is cross-entropy. A position with target IGNORE_INDEX does not count. Under autocast
    the matrix products are in low precision, and everything between them in float32. The loss allows one backward pass.
    """
    dtype = _product_dtype(output_VxD)
    loss: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_NxD, output_VxD, bias_V, target_N, expected, dtype
    )
    return loss


@torch.no_grad()
def cross_entropies(
    hidden_NxD: Tensor, output_VxD: Tensor, target_N: Tensor, buffer_nxV: Tensor, bias_V: Tensor | None = None
) -> Tensor:
    """Cross-entropy of each position, [N], in nats and without a gradient; 0 where the target is IGNORE_INDEX."""
    target_Nx1 = target_N.clamp(min=0).unsqueeze(1)
    chunks = log_probabilities(hidden_NxD, output_VxD, buffer_nxV, bias_V)
    losses = [
        -log_p_nxV.gather(1, target_nx1).squeeze(1)
        for log_p_nxV, target_nx1 in zip(chunks, torch.split(target_Nx1, len(buffer_nxV)), strict=True)
    ]
    return torch.cat(losses) * (target_N != IGNORE_INDEX)


@torch.no_grad()
def log_probabilities(
    hidden_NxD: Tensor, output_VxD: Tensor, buffer_nxV: Tensor, bias_V: Tensor | None
) -> Iterator[Tensor]:
    """Yield log-probabilities of all tokens, [n, V], for each chunk of positions; a chunk may overwrite the one before.

    The product is in the dtype of the buffer, everything else in float32.
    """
    low_VxD = output_VxD.to(buffer_nxV.dtype)
    for low_nxD in torch.split(hidden_NxD.to(buffer_nxV.dtype), len(buffer_nxV)):
        logits_nxV = torch.mm(low_nxD, low_VxD.t(), out=buffer_nxV[: len(low_nxD)]).float()
        if bias_V is not None:
            logits_nxV += bias_V
        rows_nxP = _with_padding(logits_nxV)
        yield torch.log_softmax(rows_nxP, 1, out=rows_nxP)[:, : len(output_VxD)]


def logits_buffer(output_VxD: Tensor, positions: int) -> Tensor:
    """Uninitialised buffer for the logits of a chunk, [n, V], to be reused: one buffer a chunk fragments the heap.

    Rows of whole pages (V a multiple of 1,024 in float32) compete for the same few lines of a CPU's cache, and matrix
    products take up to 1.5 times as long. So such rows get some unused padding.
    """
    V, dtype, device = len(output_VxD), _product_dtype(output_VxD), output_VxD.device
    pads = device.type == "cpu" and dtype.itemsize >= 4 and V * dtype.itemsize % PAGE == 0
    length = V + PADDING // dtype.itemsize if pads else V
    return torch.empty(min(CHUNK[device.type], positions), length, dtype=dtype, device=device)[:, :V]


def _with_padding(logits_nxV: Tensor) -> Tensor:
    """Whole rows of a buffer, contiguous, [n, V + padding]; the padding becomes -inf, which has probability 0."""
    n, V = logits_nxV.shape
    length = logits_nxV.stride(0)
    rows_nxP = logits_nxV.as_strided((n, length), (length, 1))
    rows_nxP[:, V:] = -torch.inf
    return rows_nxP


def _product_dtype(output_VxD: Tensor) -> torch.dtype:
    """dtype of the matrix products: autocast's if enabled, else the weights'."""
    device = output_VxD.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else output_VxD.dtype


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NxD: Tensor,
        output_VxD: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        expected: Expected | None,
        dtype: torch.dtype,
    ) -> Tensor:
        precise = torch.promote_types(dtype, torch.float32)
        counted_Nx1 = (target_N != IGNORE_INDEX).unsqueeze(1)
        target_Nx1 = target_N.clamp(min=0).unsqueeze(1)
        low_NxD, low_VxD = hidden_NxD.to(dtype), output_VxD.to(dtype)
        counted_low_Nx1 = counted_Nx1.to(dtype)
        counted_NxD = low_NxD * counted_low_Nx1
        grad_NxD = torch.empty_like(low_NxD)
        grad_VxD = torch.zeros_like(output_VxD, dtype=precise)
        grad_V = None if bias_V is None else torch.zeros_like(bias_V)
        loss = torch.zeros((), dtype=precise, device=hidden_NxD.device)
        weight = torch.full((), expected.weight if expected else 0.0, dtype=precise, device=hidden_NxD.device)
        buffer_nxV = logits_buffer(low_VxD, len(low_NxD))
        chunk = len(buffer_nxV)
        losses_of = _losses_of(buffer_nxV, precise)

        for start in range(0, len(low_NxD), chunk):
            here = slice(start, start + chunk)
            counted_nx1, target_nx1 = counted_low_Nx1[here], target_Nx1[here]
            # 1 logits, 2 the loss and its gradient for them
            logits_nxV = torch.mm(low_NxD[here], low_VxD.t(), out=buffer_nxV[: len(target_nx1)])
            loss_nx1, grad_logits_nxV = losses_of(logits_nxV, target_nx1, weight, bias_V)
            loss += (loss_nx1 * counted_nx1).sum()
            # 3 from that the gradients for hidden states, output matrix and bias
            torch.mm(grad_logits_nxV, low_VxD, out=grad_NxD[here])
            add_product(grad_VxD, grad_logits_nxV.t(), counted_NxD[here])
            if grad_V is not None:
                add_product(grad_V.unsqueeze(1), grad_logits_nxV.t(), counted_nx1)  # a sum of rows, 10 times as fast

        # 4 the teacher's part, <h, E> + B: a product of two rows, so each is the gradient for the other
        if expected is not None:
            loss -= expected.weight * _subtract_expected(expected, weight, counted_NxD, counted_Nx1, grad_NxD)
        grad_NxD.mul_(counted_Nx1)

        ctx.save_for_backward(grad_NxD, grad_VxD, grad_V, *((counted_NxD, counted_Nx1) if expected else (None, None)))
        ctx.expected, ctx.dtypes = expected, (hidden_NxD.dtype, output_VxD.dtype)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = upstream
        grad_NxD, grad_VxD, grad_V, counted_NxD, counted_Nx1 = ctx.saved_tensors
        hidden_dtype, output_dtype = ctx.dtypes
        if ctx.expected is not None:
            _add_expected_grads(ctx.expected, counted_NxD, counted_Nx1, scale)
        # scaled in place, so a second backward finds changed tensors and raises an error
        grad_V = None if grad_V is None else grad_V.mul_(scale)
        return grad_NxD.mul_(scale).to(hidden_dtype), grad_VxD.mul_(scale).to(output_dtype), grad_V, None, None, None


def _subtract_expected(
    expected: Expected, weight: Tensor, counted_NxD: Tensor, counted_Nx1: Tensor, grad_NxD: Tensor
) -> Tensor:
    """Compute grad -= w E[row] in place; return the sum of <h, E[row]> + B[row] over the positions that count."""
    subtract = _compiled_subtract() if grad_NxD.device.type == "cuda" else subtract_rows
    total = subtract(grad_NxD, expected.expected_CxD, expected.row_N, counted_NxD, weight)
    if expected.expected_bias_C is not None:
        expected_N = expected.expected_bias_C.index_select(0, expected.row_N)
        total = total + torch.dot(counted_Nx1.squeeze(1).to(expected_N.dtype), expected_N)
    return total


def subtract_rows(grad_NxD: Tensor, rows_CxD: Tensor, row_N: Tensor, hidden_NxD: Tensor, weight: Tensor) -> Tensor:
    """Compute grad -= w rows[row] in place; return the sum of <h, rows[row]>."""
    rows_NxD = rows_CxD.index_select(0, row_N)
    total = torch.dot(hidden_NxD.to(rows_NxD.dtype).flatten(), rows_NxD.flatten())
    grad_NxD.addcmul_(rows_NxD, weight, value=-1)
    return total


def fusible_subtract_rows(
    grad_NxD: Tensor, rows_CxD: Tensor, row_N: Tensor, hidden_NxD: Tensor, weight: Tensor
) -> Tensor:
    """Like `subtract_rows`: compiled, it never writes the [N, D] rows to memory."""
    rows_NxD = rows_CxD[row_N]
    grad_NxD.copy_(grad_NxD - weight * rows_NxD)
    return (hidden_NxD * rows_NxD).sum()


def _add_expected_grads(expected: Expected, counted_NxD: Tensor, counted_Nx1: Tensor, scale: Tensor) -> None:
    """Compute E.grad[row] -= scale w h and B.grad[row] -= scale w, over the positions that count."""
    share = -expected.weight * scale
    for leaf, counted in ((expected.expected_CxD, counted_NxD), (expected.expected_bias_C, counted_Nx1.squeeze(1))):
        if leaf is not None:
            leaf.grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            add = _compiled_add() if leaf.dim() == 2 and leaf.device.type == "cuda" else add_to_rows
            add(leaf.grad, expected.row_N, counted, share)


def add_to_rows(rows_CxD: Tensor, row_N: Tensor, hidden_NxD: Tensor, share: Tensor) -> None:
    """Compute rows[row] += share h, in place."""
    rows_CxD.index_add_(0, row_N, hidden_NxD.to(rows_CxD.dtype) * share)


def in_place_losses(
    logits_nxV: Tensor,
    target_nx1: Tensor,
    weight: Tensor,
    bias_V: Tensor | None = None,
    *,
    room_nxV: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the loss of each position, [n, 1], and its gradient for the logits, [n, V], which overwrites the logits.

    room_nxV: for logits in low precision, a buffer of `weight`'s dtype with at least as many rows; None: make one.
    """
    # probabilities: they overwrite logits in float32, or a copy of logits in lower precision
    if room_nxV is None:
        precise_nxV = logits_nxV.to(weight.dtype)
    else:
        precise_nxV = room_nxV[: len(logits_nxV)].copy_(logits_nxV)
    if bias_V is not None:
        precise_nxV += bias_V
    target_logit_nx1, largest_nx1 = precise_nxV.gather(1, target_nx1), precise_nxV.amax(1, keepdim=True)
    rows_nxP = _with_padding(precise_nxV)
    p_nxV = torch.softmax(rows_nxP, 1, out=rows_nxP)[:, : precise_nxV.shape[1]]
    # logsumexp: the largest probability is 1 / sum of exp(z - largest z). Two passes for a maximum cost half of the
    # pass of exponentials that log-probabilities would need more
    log_sum_nx1 = largest_nx1 - p_nxV.amax(1, keepdim=True).log_()
    # the loss: logsumexp - (1 - w) z[y]; its gradient: p - (1 - w) onehot(y)
    loss_nx1 = log_sum_nx1 - (1 - weight) * target_logit_nx1
    p_nxV.scatter_add_(1, target_nx1, (weight - 1).expand(target_nx1.shape))
    return loss_nx1, p_nxV if p_nxV.dtype == logits_nxV.dtype else logits_nxV.copy_(p_nxV)


def fusible_losses(
    logits_nxV: Tensor, target_nx1: Tensor, weight: Tensor, bias_V: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Like `in_place_losses`, but without writes in place: compiled, it makes two passes over the logits."""
    precise_nxV = logits_nxV.to(weight.dtype)
    if bias_V is not None:
        precise_nxV = precise_nxV + bias_V
    largest_nx1 = precise_nxV.amax(1, keepdim=True)
    log_sum_nx1 = (precise_nxV - largest_nx1).exp().sum(1, keepdim=True).log() + largest_nx1
    loss_nx1 = log_sum_nx1 - (1 - weight) * precise_nxV.gather(1, target_nx1)
    is_target_nxV = torch.arange(logits_nxV.shape[1], device=logits_nxV.device) == target_nx1
    grad_nxV = (precise_nxV - log_sum_nx1).exp() - (1 - weight) * is_target_nxV
    return loss_nx1, grad_nxV.to(logits_nxV.dtype)


def _losses_of(buffer_nxV: Tensor, precise: torch.dtype) -> LossesOf:
    """Choose the faster function on the device of this buffer, which holds the logits of each chunk in turn."""
    if buffer_nxV.device.type == "cuda":
        return _compiled()
    if buffer_nxV.dtype == precise:
        return in_place_losses
    return partial(in_place_losses, room_nxV=torch.empty_like(buffer_nxV, dtype=precise))  # a new one a chunk is slow


@lru_cache
def _compiled() -> LossesOf:
    return compiled_or(in_place_losses, fusible_losses)


@lru_cache
def _compiled_subtract() -> Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]:
    return compiled_or(subtract_rows, fusible_subtract_rows)


@lru_cache
def _compiled_add() -> Callable[[Tensor, Tensor, Tensor, Tensor], None]:
    return compiled_or(add_to_rows, add_to_rows)


def compiled_or(eager: Callable[Inputs, Made], fusible: Callable[Inputs, Made]) -> Callable[Inputs, Made]:
    """Return `fusible`, compiled at its first call; if that fails, it becomes `eager`."""
    compiled = torch.compile(fusible, dynamic=True)
    chosen: list[Callable[Inputs, Made]] = []

    def either(*inputs: Inputs.args, **named: Inputs.kwargs) -> Made:
        if chosen:
            return chosen[0](*inputs, **named)
        try:
            made = compiled(*inputs, **named)
            chosen.append(compiled)
        except Exception as error:  # of dynamo, inductor, Triton or the system: none may end a trial
            _log.warning("PyTorch cannot compile here (%s): the output layer is slower.", first_line(error))
            chosen.append(eager)
            made = eager(*inputs, **named)
        return made

    return either
