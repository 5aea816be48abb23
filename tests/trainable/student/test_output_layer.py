"""The output layer: chunks of positions change nothing, and no large tensor is made. V tokens, D width."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from loss_cases import (
    CPU,
    D,
    V,
    assert_equal,
    by_dense_target,
    by_guided_loss,
    case,
    exact,
    plain_cross_entropy,
    table_of,
)
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainable.student.guided_loss import guided_loss
from trainable.student.output_layer import (
    CHUNK,
    IGNORE_INDEX,
    PAGE,
    chunked_cross_entropy,
    compiled_or,
    cross_entropies,
    fusible_losses,
    fusible_subtract_rows,
    in_place_losses,
    logits_buffer,
    subtract_rows,
)
from trainable.teacher.kinds.bigram import BigramTeacher


@pytest.mark.parametrize("chunk", [1, 7, 39, 40, 41])
def test_size_of_the_chunks_does_not_matter(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHUNK, "cpu", chunk)
    table, c = exact(table_of("witten_bell")), case()
    c.target_N[::3] = IGNORE_INDEX
    assert_equal(by_guided_loss(c, table, 0.7), by_dense_target(c, table, 0.7), 1e-10)


@pytest.mark.parametrize("bias", [False, True])
def test_padding_of_the_rows_changes_no_bit(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of whole pages are padded; a page of 8 bytes makes the rows of every vocabulary such rows."""
    found = []
    for page in (PAGE, 8):
        monkeypatch.setattr("trainable.student.output_layer.PAGE", page)
        c = case(bias=bias)
        c.target_N[::3] = IGNORE_INDEX
        buffer_nxV = logits_buffer(c.output_VxD, positions=7)
        assert buffer_nxV.shape == (7, V) and buffer_nxV.is_contiguous() == (page == PAGE)
        losses_N = cross_entropies(c.hidden_NxD, c.output_VxD, c.target_N, buffer_nxV, c.bias_V)
        found.append((losses_N, *by_guided_loss(c, exact(table_of("witten_bell")), 0.7)))
    for plain, padded in zip(*found, strict=True):
        assert torch.equal(torch.as_tensor(plain), torch.as_tensor(padded))


def test_very_large_logits_give_the_exact_loss_and_gradients() -> None:
    """A loss over 1e4 nats is exact, because it comes from log-probabilities; a probability would underflow."""
    c = case()
    c.hidden_NxD = (c.hidden_NxD.detach() * 1e4).requires_grad_()
    expected = plain_cross_entropy(c)
    assert expected[0] > 1e4
    c.reset()
    loss = chunked_cross_entropy(c.hidden_NxD, c.output_VxD, c.target_N)
    loss.backward()
    assert_equal((loss.detach(), *c.gradients()), expected, 1e-12)


def test_a_second_backward_pass_is_refused() -> None:
    """A second backward pass raises an error, because the first one scales the gradients in place."""
    c = case()
    loss = chunked_cross_entropy(c.hidden_NxD, c.output_VxD, c.target_N)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


class _Shapes(TorchDispatchMode):
    """Records the shape of each strided tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
                self.seen.add(tuple(leaf.shape))
        return result


@contextmanager
def shapes_made() -> Iterator[set[tuple[int, ...]]]:
    with _Shapes() as mode:
        yield mode.seen


def test_no_tensor_of_tokens_or_contexts_by_vocabulary_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither teacher nor output layer makes such a tensor; logits exist for one chunk of positions at a time."""
    vocab_size, positions, chunk = 101, 300, 2 * D
    monkeypatch.setitem(CHUNK, "cpu", chunk)
    table = table_of("witten_bell", length=2000, vocab_size=vocab_size)
    c = case(positions=positions, rows=vocab_size, vocab_size=vocab_size, dtype=torch.float32, bias=True)
    contexts = len(c.context_N.unique())
    assert len({vocab_size, positions, contexts, D}) == 4
    with shapes_made() as shapes:
        guidance = BigramTeacher(table, CPU).guide(c.output_VxD, c.context_N, 0.5, c.bias_V)
        guided_loss(c.hidden_NxD, c.output_VxD, c.target_N, guidance, c.bias_V).backward()
    assert (contexts, D) in shapes  # E: the watch sees what is made
    assert (chunk, vocab_size) in shapes
    largest = max(positions, vocab_size) * D
    too_large = {shape for shape in shapes if len(shape) > 1 and np.prod(shape) > largest}
    assert not too_large
    assert not {shape for shape in shapes if len(shape) > 1 and shape[0] > chunk and shape[-1] == vocab_size}


def test_the_watch_for_large_tensors_sees_a_dense_target() -> None:
    with shapes_made() as shapes:
        by_dense_target(case(), table_of("mle"), 0.5)
    assert (40, V) in shapes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("bias_V", [None, torch.linspace(-9, 2, V)])
def test_fusible_and_in_place_losses_agree(dtype: torch.dtype, weight: float, bias_V: Tensor | None) -> None:
    """The function that is compiled for a GPU agrees with that for a CPU, which overwrites the logits."""
    precise = torch.promote_types(dtype, torch.float32)
    logits_nxV, target_nx1 = (torch.randn(9, V, dtype=precise) * 4).to(dtype), torch.randint(0, V, (9, 1))
    weight_tensor = torch.tensor(weight, dtype=precise)
    bias_V = None if bias_V is None else bias_V.to(precise)
    found = fusible_losses(logits_nxV.clone(), target_nx1, weight_tensor, bias_V)
    expected = in_place_losses(logits_nxV.clone(), target_nx1, weight_tensor, bias_V)
    for ours, theirs in zip(found, expected, strict=True):
        tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}[ours.dtype]
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_fusible_and_separate_subtraction_of_rows_agree(dtype: torch.dtype) -> None:
    """The function that is compiled for a GPU agrees with that for a CPU; both write the gradient in place."""
    precise = torch.promote_types(dtype, torch.float32)
    grad_NxD, hidden_NxD = torch.randn(9, D).to(dtype), torch.randn(9, D).to(dtype)
    rows_CxD, row_N, weight = torch.randn(4, D, dtype=precise), torch.randint(0, 4, (9,)), torch.tensor(0.3)
    ours_NxD, theirs_NxD = grad_NxD.clone(), grad_NxD.clone()
    ours = fusible_subtract_rows(ours_NxD, rows_CxD, row_N, hidden_NxD, weight)
    theirs = subtract_rows(theirs_NxD, rows_CxD, row_N, hidden_NxD, weight)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}[dtype]
    assert not torch.equal(ours_NxD, grad_NxD)
    torch.testing.assert_close(ours_NxD, theirs_NxD, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_buffer_for_losses_of_logits_in_low_precision_changes_no_loss() -> None:
    logits_nxV, target_nx1, weight = torch.randn(9, V).bfloat16(), torch.randint(0, V, (9, 1)), torch.tensor(0.3)
    alone = in_place_losses(logits_nxV.clone(), target_nx1, weight)
    buffered = in_place_losses(logits_nxV, target_nx1, weight, room_nxV=torch.full((12, V), torch.nan))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(buffered, alone, strict=True))
    assert buffered[1].data_ptr() == logits_nxV.data_ptr()


def test_if_pytorch_cannot_compile_the_loss_is_computed_without_compilation(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fails)
    losses_of, weight = compiled_or(in_place_losses, fusible_losses), torch.tensor(0.3)
    logits_nxV, target_nx1 = torch.randn(5, V), torch.randint(0, V, (5, 1))
    for _ in range(2):
        found = losses_of(logits_nxV.clone(), target_nx1, weight)
        for ours, theirs in zip(found, in_place_losses(logits_nxV.clone(), target_nx1, weight), strict=True):
            assert torch.equal(ours, theirs)
    assert [record.getMessage() for record in caplog.records] == [
        "PyTorch cannot compile here (Failed to find C compiler): the output layer is slower."
    ]
