"""The guided loss against a dense soft target: tables, cases, and both ways of computing loss and gradients.

N positions, V tokens, D width. The reference makes the [N, V] target that the project never makes.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainable.student.guided_loss import guided_loss
from trainable.student.output_layer import IGNORE_INDEX
from trainable.teacher.counts import count_bigrams
from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import BigramTable

V = 13
D = 5
EOS = 2
CPU = torch.device("cpu")


def table_of(smoothing: str, seed: int = 0, length: int = 60, vocab_size: int = V) -> BigramTable:
    """The table of a random stream; tokens V - 1 and V - 2 never occur, so their rows are the shared vector alone."""
    stream_N = np.random.default_rng(seed).zipf(1.4, length) % (vocab_size - 2)
    counts = count_bigrams(stream_N.astype(np.uint16), vocab_size, first_context=EOS)
    return estimate_table(counts, smoothing, tokenizer_fingerprint="abc", rows="student")


def exact(table: BigramTable) -> BigramTable:
    """The table rounded to binary fractions that float32 holds exactly, so that rows sum to 1 without any error.

    The sum of a stored row differs from 1 by up to 2e-7, which would hide errors of that size in float64.
    """
    base_V, backoff_V = rounded(table.base_V, 10), rounded(table.backoff_V, 10)
    base_V[base_V.argmax()] += 1 - base_V.sum()
    values = rounded(table.values, 20)
    for row, (start, end) in enumerate(zip(table.indptr[:-1], table.indptr[1:], strict=True)):
        if start == end:
            backoff_V[row] = 1
        else:
            largest = start + values[start:end].argmax()
            values[largest] += 1 - backoff_V[row] - values[start:end].sum()
    assert min(values.min(initial=0), backoff_V.min(), base_V.min()) >= 0
    changed = {"values": values, "backoff_V": backoff_V, "base_V": base_V}
    return dataclasses.replace(table, **{name: array.astype(np.float32) for name, array in changed.items()})


def rounded(array: Any, bits: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.round(np.asarray(array, np.float64) * 2**bits) / 2**bits


def dense(table: BigramTable, rows: int | None = None) -> Tensor:
    """P [V, rows]; a model may have more output rows than the tokenizer has tokens: their probability is 0."""
    P_VxV = torch.from_numpy(np.array([table.row(c) for c in range(table.vocab_size)]))
    return F.pad(P_VxV, (0, (rows or table.vocab_size) - table.vocab_size))


@dataclasses.dataclass
class Case:
    """Random hidden states, output matrix, contexts and targets, with or without a bias."""

    hidden_NxD: Tensor
    output_VxD: torch.nn.Parameter
    context_N: Tensor
    target_N: Tensor
    bias_V: torch.nn.Parameter | None = None

    def leaves(self) -> list[Tensor]:
        return [leaf for leaf in (self.hidden_NxD, self.output_VxD, self.bias_V) if leaf is not None]

    def reset(self) -> None:
        for leaf in self.leaves():
            leaf.grad = None

    def gradients(self) -> list[Tensor]:
        """Gradients of hidden states, of the output matrix, and of the bias if there is one."""
        found = [leaf.grad.clone() for leaf in self.leaves() if leaf.grad is not None]
        assert len(found) == len(self.leaves())
        return found


def case(
    seed: int = 0,
    positions: int = 40,
    rows: int = V,
    dtype: torch.dtype = torch.float64,
    vocab_size: int = V,
    width: int = D,
    bias: bool = False,
) -> Case:
    generator = torch.Generator().manual_seed(seed)
    found = Case(
        torch.randn(positions, width, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(),
        torch.nn.Parameter(torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype)),
        torch.randint(0, vocab_size, (positions,), generator=generator),
        torch.randint(0, vocab_size, (positions,), generator=generator),
    )
    if bias:
        found.bias_V = torch.nn.Parameter(torch.randn(rows, generator=generator, dtype=torch.float64).to(dtype) * 3)
    return found


def by_dense_target(c: Case, table: BigramTable, weight: float) -> tuple[Tensor, ...]:
    """Loss and gradients for hidden states, output matrix and bias, from torch's own soft cross-entropy."""
    c.reset()
    counted = c.target_N != IGNORE_INDEX
    rows = len(c.output_VxD)
    logits_NxV = F.linear(c.hidden_NxD[counted], c.output_VxD, c.bias_V)
    hard_NxV = F.one_hot(c.target_N[counted], rows).double()
    soft_NxV = weight * dense(table, rows)[c.context_N[counted]] + (1 - weight) * hard_NxV
    loss = F.cross_entropy(logits_NxV, soft_NxV.to(logits_NxV.dtype), reduction="sum")
    loss.backward()
    return loss.detach(), *c.gradients()


def by_guided_loss(
    c: Case, table: BigramTable, weight: float, parts: int = 1, low: torch.dtype | None = None
) -> tuple[Tensor, ...]:
    """Loss and gradients by `guided_loss` in `parts` micro-batches, with autocast only for the loss."""
    c.reset()
    guidance = BigramTeacher(table, c.output_VxD.device).guide(c.output_VxD, c.context_N, weight, c.bias_V)
    total = torch.zeros((), dtype=c.hidden_NxD.dtype, device=c.hidden_NxD.device)
    for index in torch.arange(len(c.target_N), device=c.target_N.device).chunk(parts):
        with torch.autocast(c.output_VxD.device.type, dtype=low, enabled=low is not None):
            loss = guided_loss(c.hidden_NxD[index], c.output_VxD, c.target_N[index], guidance[index], c.bias_V)
        loss.backward()
        total += loss.detach()
    return total, *c.gradients()


def plain_cross_entropy(c: Case) -> tuple[Tensor, ...]:
    c.reset()
    logits_NxV = F.linear(c.hidden_NxD, c.output_VxD, c.bias_V)
    loss = F.cross_entropy(logits_NxV, c.target_N, ignore_index=IGNORE_INDEX, reduction="sum")
    loss.backward()
    return loss.detach(), *c.gradients()


def assert_equal(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float) -> None:
    assert len(found) == len(expected)
    for name, ours, theirs in zip(("loss", "hidden.grad", "output.grad", "bias.grad"), found, expected, strict=False):
        scale = max(1.0, float(theirs.abs().max()))
        error = float((ours.double().cpu() - theirs.double().cpu()).abs().max()) / scale
        assert error <= tolerance, f"{name} is off by {error:.2g}"


WAITS = ("item", "cpu", "numpy", "tolist", "nonzero", "__bool__", "__int__", "__float__")


@contextmanager
def refused_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have each Tensor method that waits, on a GPU, until all its work is done raise an error within this block."""
    with monkeypatch.context() as patch:
        for name in WAITS:
            patch.setattr(Tensor, name, _refuse(name))
        yield


def _refuse(name: str) -> Any:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError(f"Tensor.{name} waits for the device")

    return refused
