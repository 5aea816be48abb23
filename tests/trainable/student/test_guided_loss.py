"""The guided loss against a dense soft target: value and both gradients.

N positions, V tokens, D width. The reference makes the [N, V] target that the project never makes.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainable.config import Smoothing
from trainable.student.guided_loss import guided_loss
from trainable.student.output_layer import CHUNK, IGNORE_INDEX, chunked_cross_entropy
from trainable.teacher.counts import count_stream
from trainable.teacher.guidance import Teacher
from trainable.teacher.smoothing import estimate
from trainable.teacher.table import BigramTable

V = 13
D = 5
EOS = 2
CPU = torch.device("cpu")
METHODS: list[Smoothing] = ["mle", "witten_bell", "modified_kneser_ney"]
ALL: tuple[Smoothing, ...] = get_args(Smoothing)
Ints = np.ndarray[Any, np.dtype[np.int64]]


def table_of(smoothing: Smoothing, seed: int = 0, length: int = 60, vocab_size: int = V) -> BigramTable:
    """Of a random stream; tokens V - 1 and V - 2 never occur, so their rows are the shared vector alone."""
    stream_N = np.random.default_rng(seed).zipf(1.4, length) % (vocab_size - 2)
    counts = count_stream(stream_N.astype(np.uint16), vocab_size, first_context=EOS)
    return estimate(counts, smoothing, tokenizer_fingerprint="abc", rows="student")


def exact(table: BigramTable) -> BigramTable:
    """The table rounded to binary fractions that float32 holds exactly, so that rows sum to 1 without any error.

    A stored row misses 1 by up to 2e-7, which would hide errors of that size in float64.
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
    """P [V, rows]; a model may have more output rows than the tokenizer has tokens, which the teacher never expects."""
    P_VxV = torch.from_numpy(np.array([table.row(c) for c in range(table.vocab_size)]))
    return F.pad(P_VxV, (0, (rows or table.vocab_size) - table.vocab_size))


@dataclasses.dataclass
class Case:
    """Random hidden states, output matrix, contexts and targets."""

    hidden_NxD: Tensor
    output_VxD: torch.nn.Parameter
    context_N: Tensor
    target_N: Tensor

    def reset(self) -> None:
        self.hidden_NxD.grad = self.output_VxD.grad = None

    def gradients(self) -> tuple[Tensor, Tensor]:
        assert self.hidden_NxD.grad is not None
        assert self.output_VxD.grad is not None
        return self.hidden_NxD.grad.clone(), self.output_VxD.grad.clone()


def case(
    seed: int = 0,
    positions: int = 40,
    rows: int = V,
    dtype: torch.dtype = torch.float64,
    vocab_size: int = V,
    width: int = D,
) -> Case:
    generator = torch.Generator().manual_seed(seed)
    return Case(
        torch.randn(positions, width, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(),
        torch.nn.Parameter(torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype)),
        torch.randint(0, vocab_size, (positions,), generator=generator),
        torch.randint(0, vocab_size, (positions,), generator=generator),
    )


def by_dense_target(c: Case, table: BigramTable, weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradients for hidden states and output matrix, from torch's own soft cross-entropy."""
    c.reset()
    counted = c.target_N != IGNORE_INDEX
    rows = len(c.output_VxD)
    logits_NxV = c.hidden_NxD[counted] @ c.output_VxD.t()
    hard_NxV = F.one_hot(c.target_N[counted], rows).double()
    soft_NxV = weight * dense(table, rows)[c.context_N[counted]] + (1 - weight) * hard_NxV
    loss = F.cross_entropy(logits_NxV, soft_NxV.to(logits_NxV.dtype), reduction="sum")
    loss.backward()
    return loss.detach(), *c.gradients()


def by_guided_loss(
    c: Case, table: BigramTable, weight: float, parts: int = 1, low: torch.dtype | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The same by the project's way, in `parts` micro-batches, and as in training: autocast holds the loss alone."""
    c.reset()
    guidance = Teacher(table, c.output_VxD.device).guide(c.output_VxD, c.context_N.cpu().numpy(), weight)
    total = torch.zeros((), dtype=c.hidden_NxD.dtype, device=c.hidden_NxD.device)
    for index in torch.arange(len(c.target_N), device=c.target_N.device).chunk(parts):
        with torch.autocast(c.output_VxD.device.type, dtype=low, enabled=low is not None):
            loss = guided_loss(c.hidden_NxD[index], c.output_VxD, c.context_N[index], c.target_N[index], guidance)
        loss.backward()
        total += loss.detach()
    guidance.close(c.output_VxD)
    return total, *c.gradients()


def assert_equal(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float) -> None:
    for name, ours, theirs in zip(("loss", "hidden.grad", "output.grad"), found, expected, strict=True):
        scale = max(1.0, float(theirs.abs().max()))
        error = float((ours.double().cpu() - theirs.double().cpu()).abs().max()) / scale
        assert error <= tolerance, f"{name} is off by {error:.2g}"


# ---- equal to a dense soft target --------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [1.0, 0.3, 1e-3])
@pytest.mark.parametrize("smoothing", METHODS)
def test_guided_loss_is_cross_entropy_with_the_dense_soft_target(smoothing: Smoothing, weight: float) -> None:
    table, c = exact(table_of(smoothing)), case()
    assert_equal(by_guided_loss(c, table, weight), by_dense_target(c, table, weight), 1e-10)


@given(st.data())
@settings(max_examples=50)
def test_guided_loss_is_cross_entropy_with_the_dense_soft_target_of_any_shape(data: st.DataObject) -> None:
    """Any method, table, vocabulary, width, spare output rows, weight, padding, number of micro-batches and chunk."""
    seed, vocab_size = data.draw(st.integers(0, 2**32)), data.draw(st.integers(EOS + 2, 40))
    table = exact(table_of(data.draw(st.sampled_from(ALL)), seed, data.draw(st.integers(1, 200)), vocab_size))
    positions, rows = data.draw(st.integers(1, 30)), vocab_size + data.draw(st.integers(0, 5))
    c = case(seed, positions, rows, vocab_size=vocab_size, width=data.draw(st.integers(1, 9)))
    padded = data.draw(st.lists(st.booleans(), min_size=positions, max_size=positions))
    c.target_N[torch.tensor(padded)] = IGNORE_INDEX
    weight, parts = data.draw(st.floats(1e-6, 1)), data.draw(st.integers(1, 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CHUNK, "cpu", data.draw(st.integers(1, 31)))
        found = by_guided_loss(c, table, weight, parts)
    assert_equal(found, by_dense_target(c, table, weight), 1e-10)
    assert (found[1][torch.tensor(padded)] == 0).all()


def test_guided_loss_of_tied_embeddings_has_the_gradient_of_the_dense_soft_target() -> None:
    """The output matrix is the embedding as well: both uses add to its one gradient."""
    table, c = exact(table_of("witten_bell")), case()
    shared = c.output_VxD

    def hidden() -> Tensor:
        return F.embedding(c.context_N, shared).tanh()

    soft_NxV = 0.7 * dense(table)[c.context_N] + 0.3 * F.one_hot(c.target_N, V).double()
    F.cross_entropy(hidden() @ shared.t(), soft_NxV, reduction="sum").backward()
    assert shared.grad is not None
    expected, shared.grad = shared.grad.clone(), None
    guidance = Teacher(table, CPU).guide(shared, c.context_N.numpy(), 0.7)
    guided_loss(hidden(), shared, c.context_N, c.target_N, guidance).backward()
    guidance.close(shared)
    torch.testing.assert_close(shared.grad, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("smoothing", METHODS)
def test_guided_loss_agrees_in_float32(smoothing: Smoothing) -> None:
    """With the table as it is stored: rows sum to 1 within 2e-7."""
    table, c = table_of(smoothing), case(dtype=torch.float32)
    assert_equal(by_guided_loss(c, table, 0.7), by_dense_target(c, table, 0.7), 1e-5)


def test_smoothed_tables_use_the_shared_vector() -> None:
    """Else the tests above would not see a forgotten backoff."""
    for smoothing in METHODS[1:]:
        table = exact(table_of(smoothing))
        assert (table.backoff_V[: V - 2] > 0.05).any()
        assert table.base_V.std() > 0.01


@pytest.mark.parametrize("panel", [1, 2, 4])
def test_width_of_the_panels_does_not_matter(panel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainable.teacher.guidance.PANEL", panel)
    table, c = exact(table_of("modified_kneser_ney")), case()
    assert_equal(by_guided_loss(c, table, 0.7), by_dense_target(c, table, 0.7), 1e-10)


@pytest.mark.parametrize("smoothing", METHODS)
def test_contexts_never_seen_are_taught_the_shared_vector(smoothing: Smoothing) -> None:
    table, c = exact(table_of(smoothing)), case()
    c.context_N = torch.full_like(c.context_N, V - 1)
    assert table.indptr[V - 1] == table.indptr[V]
    assert_equal(by_guided_loss(c, table, 0.6), by_dense_target(c, table, 0.6), 1e-10)


@pytest.mark.parametrize("smoothing", METHODS)
def test_model_may_have_more_output_rows_than_the_tokenizer_has_tokens(smoothing: Smoothing) -> None:
    table, c = exact(table_of(smoothing)), case(rows=V + 6)
    found = by_guided_loss(c, table, 0.6)
    assert_equal(found, by_dense_target(c, table, 0.6), 1e-10)
    assert found[2][V:].abs().min() > 0  # the log-partition still pushes the spare rows down


def test_guide_may_know_more_contexts_than_a_micro_batch_has() -> None:
    table, c = exact(table_of("witten_bell")), case(positions=12)
    c.context_N = torch.arange(12)
    whole = by_guided_loss(c, table, 0.4, parts=12)
    assert_equal(whole, by_dense_target(c, table, 0.4), 1e-10)


@pytest.mark.parametrize("parts", [2, 3, 40])
@pytest.mark.parametrize("smoothing", METHODS)
def test_micro_batches_with_one_guide_and_one_close_equal_the_whole_batch(smoothing: Smoothing, parts: int) -> None:
    table, c = exact(table_of(smoothing)), case()
    assert_equal(by_guided_loss(c, table, 0.7, parts), by_guided_loss(c, table, 0.7), 1e-10)
    assert_equal(by_guided_loss(c, table, 0.7, parts), by_dense_target(c, table, 0.7), 1e-10)


# ---- weight 0, ignored positions ---------------------------------------------------------------------------------


def plain_cross_entropy(c: Case) -> tuple[Tensor, Tensor, Tensor]:
    c.reset()
    loss = F.cross_entropy(F.linear(c.hidden_NxD, c.output_VxD), c.target_N, ignore_index=IGNORE_INDEX, reduction="sum")
    loss.backward()
    return loss.detach(), *c.gradients()


def test_guided_loss_with_weight_zero_is_plain_cross_entropy() -> None:
    c = case()
    assert_equal(by_guided_loss(c, table_of("witten_bell"), 0.0), plain_cross_entropy(c), 1e-12)


def test_guided_loss_without_guidance_is_plain_cross_entropy() -> None:
    c = case()
    expected = plain_cross_entropy(c)
    c.reset()
    loss = guided_loss(c.hidden_NxD, c.output_VxD, c.context_N, c.target_N, None)
    loss.backward()
    assert_equal((loss.detach(), *c.gradients()), expected, 1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 39, 40, 41])
def test_size_of_the_chunks_does_not_matter(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHUNK, "cpu", chunk)
    table, c = exact(table_of("witten_bell")), case()
    c.target_N[::3] = IGNORE_INDEX
    assert_equal(by_guided_loss(c, table, 0.7), by_dense_target(c, table, 0.7), 1e-10)


def test_logits_of_any_size_neither_overflow_nor_lose_the_loss() -> None:
    """The loss comes from log-probabilities: 1e4 nats would underflow a probability."""
    c = case()
    c.hidden_NxD = (c.hidden_NxD.detach() * 1e4).requires_grad_()
    expected = plain_cross_entropy(c)
    assert expected[0] > 1e4
    c.reset()
    loss = chunked_cross_entropy(c.hidden_NxD, c.output_VxD, c.target_N, 0.0)
    loss.backward()
    assert_equal((loss.detach(), *c.gradients()), expected, 1e-12)


def test_backward_runs_once() -> None:
    """Gradients are scaled in place, so a second time would be wrong: it must not pass in silence."""
    c = case()
    loss = chunked_cross_entropy(c.hidden_NxD, c.output_VxD, c.target_N, 0.0)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("smoothing", METHODS)
def test_ignored_positions_add_nothing_to_the_loss_or_its_gradients(smoothing: Smoothing) -> None:
    table, c = exact(table_of(smoothing)), case()
    c.target_N[::3] = IGNORE_INDEX
    padded = by_guided_loss(c, table, 0.8)
    assert_equal(padded, by_dense_target(c, table, 0.8), 1e-10)
    assert (padded[1][::3] == 0).all()
    kept = torch.arange(len(c.target_N)) % 3 != 0
    short = Case(c.hidden_NxD.detach()[kept].requires_grad_(), c.output_VxD, c.context_N[kept], c.target_N[kept])
    alone = by_guided_loss(short, table, 0.8)
    assert_equal((padded[0], padded[1][kept], padded[2]), alone, 1e-10)


def test_batch_of_ignored_positions_alone_has_no_loss_and_no_gradient() -> None:
    c = case()
    c.target_N.fill_(IGNORE_INDEX)
    loss, *gradients = by_guided_loss(c, table_of("witten_bell"), 0.8)
    assert loss == 0
    assert all((gradient == 0).all() for gradient in gradients)


# ---- what it means -----------------------------------------------------------------------------------------------


def test_with_full_weight_the_best_student_is_the_teacher() -> None:
    """Minimising the loss over free logits gives the table's row, whatever the targets."""
    table = table_of("witten_bell")
    logits = torch.zeros(V, V, dtype=torch.float64, requires_grad=True)
    eye = torch.nn.Parameter(torch.eye(V, dtype=torch.float64))
    contexts, targets = torch.arange(V), torch.randint(0, V, (V,), generator=torch.Generator().manual_seed(3))
    guidance = Teacher(table, CPU).guide(eye, contexts.numpy(), 1.0)
    optimizer = torch.optim.LBFGS([logits], max_iter=300, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = guided_loss(logits, eye, contexts, targets, guidance)
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(logits.softmax(1).detach(), dense(table), atol=1e-4, rtol=0)


# ---- low precision -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
def test_autocast_agrees_with_float32_to_its_precision(dtype: torch.dtype, tolerance: float) -> None:
    """bfloat16 keeps 8 bits (4e-3 a rounding), float16 11 (5e-4); several roundings meet in a gradient."""
    table, c = table_of("modified_kneser_ney"), case(dtype=torch.float32)
    expected = by_guided_loss(c, table, 0.7)
    with torch.autocast("cpu", dtype=dtype):
        assert F.linear(c.hidden_NxD, c.output_VxD).dtype == dtype
    found = by_guided_loss(c, table, 0.7, low=dtype)
    assert found[0].dtype == torch.float32
    assert_equal(found, expected, tolerance)


# ---- memory ------------------------------------------------------------------------------------------------------


class _Shapes(TorchDispatchMode):
    """Notes the shape of each strided tensor that an operation makes."""

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
    """Neither by the teacher nor by the output layer, whose logits exist for a chunk of positions only."""
    vocab_size, positions, chunk = 101, 300, 2 * D
    monkeypatch.setitem(CHUNK, "cpu", chunk)
    table = table_of("witten_bell", length=2000, vocab_size=vocab_size)
    c = case(positions=positions, rows=vocab_size, vocab_size=vocab_size, dtype=torch.float32)
    contexts = len(c.context_N.unique())
    assert len({vocab_size, positions, contexts, D}) == 4
    with shapes_made() as shapes:
        guidance = Teacher(table, CPU).guide(c.output_VxD, c.context_N.numpy(), 0.5)
        guided_loss(c.hidden_NxD, c.output_VxD, c.context_N, c.target_N, guidance).backward()
        guidance.close(c.output_VxD)
    assert (contexts, D) in shapes  # the mode did see what was made
    assert (chunk, vocab_size) in shapes
    largest = max(positions, vocab_size) * D
    too_large = {shape for shape in shapes if len(shape) > 1 and np.prod(shape) > largest}
    assert not too_large
    assert not {shape for shape in shapes if len(shape) > 1 and shape[0] > chunk and shape[-1] == vocab_size}


def test_the_watch_for_large_tensors_sees_a_dense_target() -> None:
    with shapes_made() as shapes:
        by_dense_target(case(), table_of("mle"), 0.5)
    assert (40, V) in shapes


@pytest.mark.parametrize("smoothing", METHODS)
def test_guide_leaves_no_gradient_on_the_output_matrix(smoothing: Smoothing) -> None:
    c = case()
    Teacher(table_of(smoothing), CPU).guide(c.output_VxD, c.context_N.numpy(), 0.5)
    assert c.output_VxD.grad is None


def test_close_before_backward_is_a_mistake_of_the_programmer() -> None:
    c = case()
    guidance = Teacher(table_of("mle"), CPU).guide(c.output_VxD, c.context_N.numpy(), 0.5)
    with pytest.raises(AssertionError, match="close"):
        guidance.close(c.output_VxD)


# ---- CUDA --------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and PyTorch finds none here")
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("smoothing", METHODS)
def test_guided_loss_on_cuda_is_cross_entropy_with_the_dense_soft_target(smoothing: Smoothing, parts: int) -> None:
    table, c = exact(table_of(smoothing)), case()
    c.target_N[::5] = IGNORE_INDEX
    expected = by_dense_target(c, table, 0.7)
    cuda = torch.device("cuda")
    there = Case(
        c.hidden_NxD.detach().to(cuda).requires_grad_(),
        torch.nn.Parameter(c.output_VxD.detach().to(cuda)),
        c.context_N.to(cuda),
        c.target_N.to(cuda),
    )
    assert_equal(by_guided_loss(there, table, 0.7, parts), expected, 1e-10)
