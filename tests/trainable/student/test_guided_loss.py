"""The guided loss equals cross-entropy with the dense soft target, in value and in all gradients. V tokens."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import (
    CPU,
    EOS,
    Case,
    V,
    assert_equal,
    by_dense_target,
    by_guided_loss,
    case,
    dense,
    exact,
    plain_cross_entropy,
    table_of,
)
from torch import Tensor

from trainable.student.guided_loss import guided_loss
from trainable.student.output_layer import CHUNK, IGNORE_INDEX
from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.smoothing import SMOOTHINGS

METHODS = list(SMOOTHINGS)
FORMS = ["mle", "modified_kneser_ney"]  # rows without and with a share of the shared vector: the loss knows no others


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("smoothing", FORMS)
def test_guided_loss_is_cross_entropy_with_the_dense_soft_target(smoothing: str, bias: bool) -> None:
    table, c = exact(table_of(smoothing)), case(bias=bias)
    assert_equal(by_guided_loss(c, table, 0.3), by_dense_target(c, table, 0.3), 1e-10)


@given(st.data())
@settings(max_examples=30)
def test_guided_loss_is_cross_entropy_with_the_dense_soft_target_of_any_shape(data: st.DataObject) -> None:
    """The loss is exact for random tables, vocabularies, widths, biases, weights, padding, micro-batches and chunks."""
    seed, vocab_size = data.draw(st.integers(0, 2**32)), data.draw(st.integers(EOS + 2, 40))
    table = exact(table_of(data.draw(st.sampled_from(METHODS)), seed, data.draw(st.integers(1, 200)), vocab_size))
    positions, rows = data.draw(st.integers(1, 30)), vocab_size + data.draw(st.integers(0, 5))
    width, bias = data.draw(st.integers(1, 9)), data.draw(st.booleans())
    c = case(seed, positions, rows, vocab_size=vocab_size, width=width, bias=bias)
    padded = data.draw(st.lists(st.booleans(), min_size=positions, max_size=positions))
    c.target_N[torch.tensor(padded)] = IGNORE_INDEX
    weight, parts = data.draw(st.floats(1e-6, 1)), data.draw(st.integers(1, 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CHUNK, "cpu", data.draw(st.integers(1, 31)))
        found = by_guided_loss(c, table, weight, parts)
    assert_equal(found, by_dense_target(c, table, weight), 1e-10)
    assert (found[1][torch.tensor(padded)] == 0).all()


@pytest.mark.parametrize("bias", [False, True])
def test_guided_loss_of_tied_embeddings_has_the_gradient_of_the_dense_soft_target(bias: bool) -> None:
    """The output matrix is also the embedding, and both uses add to its gradient."""
    table, c = exact(table_of("witten_bell")), case(bias=bias)
    shared = c.output_VxD

    def hidden() -> Tensor:
        return F.embedding(c.context_N, shared).tanh()

    soft_NxV = 0.7 * dense(table)[c.context_N] + 0.3 * F.one_hot(c.target_N, V).double()
    learned = [leaf for leaf in (shared, c.bias_V) if leaf is not None]
    F.cross_entropy(F.linear(hidden(), shared, c.bias_V), soft_NxV, reduction="sum").backward()
    expected = [leaf.grad.clone() for leaf in learned if leaf.grad is not None]
    c.reset()
    guidance = BigramTeacher(table, CPU).guide(shared, c.context_N, 0.7, c.bias_V)
    guided_loss(hidden(), shared, c.target_N, guidance, c.bias_V).backward()
    assert len(expected) == len(learned)
    for leaf, gradient in zip(learned, expected, strict=True):
        torch.testing.assert_close(leaf.grad, gradient, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("bias", [False, True])
def test_guided_loss_agrees_in_float32(bias: bool) -> None:
    """The loss agrees to 1e-5 with the table as it is stored, whose rows sum to 1 within 2e-7."""
    table, c = table_of("modified_kneser_ney"), case(dtype=torch.float32, bias=bias)
    assert_equal(by_guided_loss(c, table, 0.7), by_dense_target(c, table, 0.7), 1e-5)


@pytest.mark.parametrize("smoothing", FORMS)
def test_contexts_never_seen_are_taught_the_shared_vector(smoothing: str) -> None:
    table, c = exact(table_of(smoothing)), case()
    c.context_N = torch.full_like(c.context_N, V - 1)
    assert table.indptr[V - 1] == table.indptr[V]
    assert_equal(by_guided_loss(c, table, 0.6), by_dense_target(c, table, 0.6), 1e-10)


def test_model_may_have_more_output_rows_than_the_tokenizer_has_tokens() -> None:
    table, c = exact(table_of("modified_kneser_ney")), case(rows=V + 6)
    found = by_guided_loss(c, table, 0.6)
    assert_equal(found, by_dense_target(c, table, 0.6), 1e-10)
    assert found[2][V:].abs().min() > 0  # the log-partition still pushes the spare rows down


def test_guide_may_know_more_contexts_than_a_micro_batch_has() -> None:
    table, c = exact(table_of("witten_bell")), case(positions=12)
    c.context_N = torch.arange(12)
    whole = by_guided_loss(c, table, 0.4, parts=12)
    assert_equal(whole, by_dense_target(c, table, 0.4), 1e-10)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("parts", [3, 40])
def test_micro_batches_with_one_guide_equal_the_whole_batch(parts: int, bias: bool) -> None:
    table, c = exact(table_of("modified_kneser_ney")), case(bias=bias)
    assert_equal(by_guided_loss(c, table, 0.7, parts), by_guided_loss(c, table, 0.7), 1e-10)
    assert_equal(by_guided_loss(c, table, 0.7, parts), by_dense_target(c, table, 0.7), 1e-10)


def test_guided_loss_with_weight_zero_is_plain_cross_entropy() -> None:
    c = case()
    assert_equal(by_guided_loss(c, table_of("witten_bell"), 0.0), plain_cross_entropy(c), 1e-12)


@pytest.mark.parametrize("bias", [False, True])
def test_guided_loss_without_guidance_is_plain_cross_entropy(bias: bool) -> None:
    c = case(bias=bias)
    c.target_N[::4] = IGNORE_INDEX
    expected = plain_cross_entropy(c)
    c.reset()
    loss = guided_loss(c.hidden_NxD, c.output_VxD, c.target_N, None, c.bias_V)
    loss.backward()
    assert_equal((loss.detach(), *c.gradients()), expected, 1e-12)


@pytest.mark.parametrize("bias", [False, True])
def test_ignored_positions_add_nothing_to_the_loss_or_its_gradients(bias: bool) -> None:
    table, c = exact(table_of("modified_kneser_ney")), case(bias=bias)
    c.target_N[::3] = IGNORE_INDEX
    padded = by_guided_loss(c, table, 0.8)
    assert_equal(padded, by_dense_target(c, table, 0.8), 1e-10)
    assert (padded[1][::3] == 0).all()
    kept = torch.arange(len(c.target_N)) % 3 != 0
    hidden_nxD = c.hidden_NxD.detach()[kept].requires_grad_()
    alone = by_guided_loss(Case(hidden_nxD, c.output_VxD, c.context_N[kept], c.target_N[kept], c.bias_V), table, 0.8)
    assert_equal((padded[0], padded[1][kept], *padded[2:]), alone, 1e-10)


def test_batch_of_ignored_positions_alone_has_no_loss_and_no_gradient() -> None:
    c = case()
    c.target_N.fill_(IGNORE_INDEX)
    loss, *gradients = by_guided_loss(c, table_of("witten_bell"), 0.8)
    assert loss == 0
    assert all((gradient == 0).all() for gradient in gradients)


def test_with_full_weight_the_best_student_is_the_teacher() -> None:
    """With weight 1, minimising the loss over free logits gives the table's rows, whatever the targets."""
    table = table_of("witten_bell")
    logits = torch.zeros(V, V, dtype=torch.float64, requires_grad=True)
    eye = torch.nn.Parameter(torch.eye(V, dtype=torch.float64))
    contexts, targets = torch.arange(V), torch.randint(0, V, (V,), generator=torch.Generator().manual_seed(3))
    optimizer = torch.optim.LBFGS([logits], max_iter=300, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = guided_loss(logits, eye, targets, BigramTeacher(table, CPU).guide(eye, contexts, 1.0))
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(logits.softmax(1).detach(), dense(table), atol=1e-4, rtol=0)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
def test_autocast_agrees_with_float32_to_its_precision(dtype: torch.dtype, tolerance: float, bias: bool) -> None:
    """The tolerances allow several roundings in a gradient, each of 4e-3 in bfloat16 and 5e-4 in float16."""
    table, c = table_of("modified_kneser_ney"), case(dtype=torch.float32, bias=bias)
    expected = by_guided_loss(c, table, 0.7)
    with torch.autocast("cpu", dtype=dtype):
        assert F.linear(c.hidden_NxD, c.output_VxD).dtype == dtype
    found = by_guided_loss(c, table, 0.7, low=dtype)
    assert found[0].dtype == torch.float32
    assert_equal(found, expected, tolerance)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and PyTorch finds none here")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
def test_guided_loss_on_cuda_is_cross_entropy_with_the_dense_soft_target(parts: int, bias: bool) -> None:
    table, c = exact(table_of("modified_kneser_ney")), case(bias=bias)
    c.target_N[::5] = IGNORE_INDEX
    expected = by_dense_target(c, table, 0.7)
    cuda = torch.device("cuda")
    there = Case(
        c.hidden_NxD.detach().to(cuda).requires_grad_(),
        torch.nn.Parameter(c.output_VxD.detach().to(cuda)),
        c.context_N.to(cuda),
        c.target_N.to(cuda),
        None if c.bias_V is None else torch.nn.Parameter(c.bias_V.detach().to(cuda)),
    )
    assert_equal(by_guided_loss(there, table, 0.7, parts), expected, 1e-10)
