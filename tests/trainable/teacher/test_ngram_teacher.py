"""N-gram teacher: loss and gradients equal those of the dense target at each order. V tokens, D width."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import CPU, Case, assert_equal, refused_waits
from torch import Tensor

from trainable.errors import InputError
from trainable.student.guided_loss import guided_loss
from trainable.student.output_layer import IGNORE_INDEX
from trainable.teacher.kinds.ngram import DeviceNgrams, NgramTeacher
from trainable.teacher.kneser_ney import estimate_ngrams
from trainable.teacher.ngram_counts import count_ngrams
from trainable.teacher.ngram_table import NgramTable

V, D, EOS = 11, 5, 2


def table_of(order: int, seed: int = 0, length: int = 300, min_count: int = 1) -> NgramTable:
    """A table of a random stream in which the last two tokens never occur."""
    stream_N = (np.random.default_rng(seed).zipf(1.3, length) % (V - 2)).astype(np.uint16)
    counts = count_ngrams(stream_N, V, order, eos_id=EOS)
    return estimate_ngrams(counts, min_count=min_count, tokenizer_fingerprint="abc")


def blocks_of(seed: int, blocks: int = 6, length: int = 9) -> np.ndarray[Any, Any]:
    """Contexts [B, T] of which some were seen and some never."""
    return np.random.default_rng(seed).zipf(1.3, (blocks, length)) % V


def case_of(context_BxT: np.ndarray[Any, Any], dtype: torch.dtype = torch.float64, rows: int = V) -> Case:
    """Random hidden states, output matrix, bias and targets, some of them padding."""
    generator, positions = torch.Generator().manual_seed(1), context_BxT.size

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype)

    target_N = torch.randint(0, V, (positions,), generator=generator)
    target_N[::7] = IGNORE_INDEX
    output_VxD, bias_V = torch.nn.Parameter(drawn(rows, D)), torch.nn.Parameter(drawn(rows))
    return Case(drawn(positions, D).requires_grad_(), output_VxD, torch.from_numpy(context_BxT), target_N, bias_V)


def dense(table: NgramTable, context_BxT: np.ndarray[Any, Any]) -> Tensor:
    """The distribution at each position, from its whole history in the block."""
    rows = []
    for context_T in context_BxT:
        for t in range(len(context_T)):
            begins = max([0, *(np.flatnonzero(context_T[: t + 1] == EOS).tolist())])  # from the last eos on
            rows.append(table.row(context_T[begins : t + 1][-(table.order - 1) :]))
    return torch.from_numpy(np.array(rows))


def by_dense_target(c: Case, table: NgramTable, weight: float) -> tuple[Tensor, ...]:
    """Loss and gradients with the [N, V] target that the project never makes; each target must sum to 1."""
    c.reset()
    counted = c.target_N != IGNORE_INDEX
    soft_NxV = F.pad(dense(table, c.context_N.numpy()), (0, len(c.output_VxD) - V))
    hard_NxV = F.one_hot(c.target_N.clamp(min=0), len(c.output_VxD)).double()
    target_NxV = weight * soft_NxV + (1 - weight) * hard_NxV
    logits_NxV = F.linear(c.hidden_NxD, c.output_VxD, c.bias_V)
    losses_N = logits_NxV.logsumexp(1) - (target_NxV.to(logits_NxV.dtype) * logits_NxV).sum(1)
    loss = losses_N[counted].sum()
    loss.backward()
    return loss.detach(), *c.gradients()


def by_teacher(
    c: Case, table: NgramTable, weight: float, parts: int = 1, as_on_a_gpu: bool = False
) -> tuple[Tensor, ...]:
    """Loss and gradients by the teacher and `guided_loss`, in micro-batches of whole blocks.

    as_on_a_gpu: cut and multiply the rows by the code for a GPU.
    """
    c.reset()
    blocks, length = c.context_N.shape
    teacher = NgramTeacher(table, CPU)
    if as_on_a_gpu:
        teacher.on_device = DeviceNgrams(table, CPU)
    guidance = teacher.guide(c.output_VxD, c.context_N.numpy(), weight, c.bias_V)
    total = torch.zeros((), dtype=c.hidden_NxD.dtype)
    for part in torch.arange(blocks).chunk(parts):
        here = slice(int(part[0]) * length, (int(part[-1]) + 1) * length)
        loss = guided_loss(c.hidden_NxD[here], c.output_VxD, c.target_N[here], guidance[part], c.bias_V)
        loss.backward()
        total += loss.detach()
    return total, *c.gradients()


@given(st.data())
@settings(max_examples=25)
def test_the_loss_is_cross_entropy_with_the_dense_target(data: st.DataObject) -> None:
    """The loss is exact for random orders, texts, pruning, weights, micro-batches and spare output rows."""
    order, seed = data.draw(st.integers(2, 5)), data.draw(st.integers(0, 2**20))
    table = table_of(order, seed, data.draw(st.integers(1, 400)), data.draw(st.sampled_from([1, 1, 2])))
    c = case_of(blocks_of(seed), rows=V + data.draw(st.integers(0, 3)))
    weight, parts, as_on_a_gpu = data.draw(st.floats(1e-6, 1)), data.draw(st.integers(1, 6)), data.draw(st.booleans())
    assert_equal(by_teacher(c, table, weight, parts, as_on_a_gpu), by_dense_target(c, table, weight), 1e-10)


@pytest.mark.parametrize("as_on_a_gpu", [False, True])
@pytest.mark.parametrize("order", [3, 5])
def test_the_loss_agrees_in_float32(order: int, as_on_a_gpu: bool) -> None:
    table, c = table_of(order), case_of(blocks_of(3), torch.float32)
    assert_equal(by_teacher(c, table, 0.7, 3, as_on_a_gpu), by_dense_target(c, table, 0.7), 1e-5)


def test_a_step_by_the_code_for_a_gpu_never_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    table, c = table_of(4), case_of(blocks_of(3), torch.float32)
    teacher, context_BxT = NgramTeacher(table, CPU), c.context_N.numpy()
    teacher.on_device = DeviceNgrams(table, CPU)
    with refused_waits(monkeypatch):
        guidance = teacher.guide(c.output_VxD, context_BxT, 0.7, c.bias_V)
        loss = guided_loss(c.hidden_NxD, c.output_VxD, c.target_N, guidance, c.bias_V)
        loss.backward()
    found = (loss.detach(), *c.gradients())
    assert_equal(found, by_teacher(c, table, 0.7), 1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and PyTorch finds none here")
@pytest.mark.parametrize(("product", "tolerance"), [(None, 1e-5), (torch.bfloat16, 2e-2)])
def test_the_expectations_on_a_gpu_equal_those_of_the_host(product: torch.dtype | None, tolerance: float) -> None:
    table, c = table_of(4, length=4000), case_of(blocks_of(3), torch.float32)
    output_VxD = torch.nn.Parameter(c.output_VxD.detach().cuda())
    here = NgramTeacher(table, CPU).guide(c.output_VxD, c.context_N.numpy(), 0.7)
    there = NgramTeacher(table, "cuda", product=product).guide(output_VxD, c.context_N.numpy(), 0.7)
    assert torch.equal(here.row, there.row.cpu())
    torch.testing.assert_close(there.expected_RxD.cpu(), here.expected_RxD, rtol=tolerance, atol=tolerance)


def test_longer_histories_are_used() -> None:
    """Teachers of orders 2, 3 and 4 give three different losses."""
    c = case_of(blocks_of(3))
    losses = [float(by_teacher(c, table_of(order), 0.7)[0]) for order in (2, 3, 4)]
    assert len(set(losses)) == 3


@pytest.mark.parametrize("order", [2, 3, 5])
def test_a_history_reaches_back_to_where_it_begins_and_no_further(order: int) -> None:
    """Texts joined in one row, with their beginnings marked, have the same expectations as each text in its own row."""
    c, table, texts = case_of(blocks_of(4, blocks=1, length=30)), table_of(order, length=4000), [1, 12, 4, 13]
    begins_N = np.isin(np.arange(30), np.cumsum([0, *texts]))
    teacher = NgramTeacher(table, CPU)
    together = teacher.guide(c.output_VxD, c.context_N, 0.7, begins=begins_N[None])
    whole = teacher.guide(c.output_VxD, c.context_N, 0.7)
    apart = [teacher.guide(c.output_VxD, text_1xT, 0.7) for text_1xT in c.context_N.split(texts, dim=1)]
    expected_NxD = torch.cat([one.expected_RxD[one.row.flatten()] for one in apart])
    torch.testing.assert_close(together.expected_RxD[together.row.flatten()], expected_NxD, rtol=1e-12, atol=1e-12)
    differs = not torch.allclose(whole.expected_RxD[whole.row.flatten()], expected_NxD)
    assert differs == (order > 2), "only a bigram teacher ignores where texts begin"


def test_a_token_that_was_never_seen_is_followed_by_the_shared_vector() -> None:
    table = table_of(3)
    c = case_of(np.full((2, 4), V - 1))
    np.testing.assert_allclose(dense(table, c.context_N.numpy())[0], table.base_V)
    assert_equal(by_teacher(c, table, 0.6), by_dense_target(c, table, 0.6), 1e-10)


def test_an_id_outside_the_vocabulary_is_refused() -> None:
    c = case_of(np.full((2, 4), V))
    with pytest.raises(InputError, match=f"token id {V} is outside"):
        NgramTeacher(table_of(3), CPU).guide(c.output_VxD, c.context_N, 0.5)
