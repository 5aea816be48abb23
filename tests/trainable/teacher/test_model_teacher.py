"""Teacher of kind model: loss and gradients equal those of dense truncated distributions. V tokens, D width."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import CPU, Case, assert_equal, refused_waits
from small_answers import BLOCKS, POSITIONS, V, answers_of, distributions
from small_tables import IDS
from torch import Tensor
from transformers import LlamaForCausalLM

from trainable.config import ModelConfig
from trainable.errors import InputError
from trainable.student.batches import Batch
from trainable.student.guided_loss import guided_loss
from trainable.student.model import fresh_model, output_matrix, student_config
from trainable.student.output_layer import IGNORE_INDEX
from trainable.student.ranks import Ranks
from trainable.student.train import backward
from trainable.teacher.answers import Answers
from trainable.teacher.kinds import teacher_class
from trainable.teacher.kinds.bigram import device_table
from trainable.teacher.kinds.model import ModelTeacher
from trainable.teacher.material import Material
from trainable.teacher.table import BigramTable

D = 5
Numbers = np.ndarray[Any, Any]


def case_of(numbers_B: Numbers, dtype: torch.dtype = torch.float64, rows: int = V) -> Case:
    """Random hidden states, output matrix, bias and targets, some of them padding, for whole blocks."""
    generator, positions = torch.Generator().manual_seed(1), numbers_B.size * POSITIONS

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype)

    target_N = torch.randint(0, V, (positions,), generator=generator)
    target_N[::7] = IGNORE_INDEX
    context_BxT = torch.randint(0, V, (len(numbers_B), POSITIONS), generator=generator)
    output_VxD, bias_V = torch.nn.Parameter(drawn(rows, D)), torch.nn.Parameter(drawn(rows))
    return Case(drawn(positions, D).requires_grad_(), output_VxD, context_BxT, target_N, bias_V)


def dense_rows(answers: Answers, numbers_B: Numbers, context_N: Tensor, rows: int = V) -> Tensor:
    """The distribution at each position of these blocks, over all rows of an output matrix, computed independently."""
    parent_VxV = np.stack([answers.parent.row(token) for token in range(V)])
    kept_NxK, ids_NxK = (
        array[numbers_B.ravel()].reshape(-1, array.shape[-1]).astype(np.float64)
        for array in (answers.p_BxTxk, answers.ids_BxTxk)
    )
    found_NxV = (1 - kept_NxK.sum(1, keepdims=True)) * parent_VxV[context_N.flatten().numpy()]
    found_NxV[np.arange(len(kept_NxK))[:, None], ids_NxK.astype(np.int64)] += kept_NxK
    return F.pad(torch.from_numpy(found_NxV), (0, rows - V))


def dense_losses(logits_NxV: Tensor, target_N: Tensor, soft_NxV: Tensor, weight: float) -> Tensor:
    """Cross-entropy of each position with the [N, V] target that the project never makes."""
    hard_NxV = F.one_hot(target_N.clamp(min=0), logits_NxV.shape[1]).double()
    target_NxV = (weight * soft_NxV + (1 - weight) * hard_NxV).to(logits_NxV.dtype)
    return logits_NxV.logsumexp(1) - (target_NxV * logits_NxV).sum(1)


def by_dense_target(c: Case, answers: Answers, numbers_B: Numbers, weight: float) -> tuple[Tensor, ...]:
    c.reset()
    logits_NxV = F.linear(c.hidden_NxD, c.output_VxD, c.bias_V)
    losses_N = dense_losses(
        logits_NxV, c.target_N, dense_rows(answers, numbers_B, c.context_N, len(c.output_VxD)), weight
    )
    loss = losses_N[c.target_N != IGNORE_INDEX].sum()
    loss.backward()
    return loss.detach(), *c.gradients()


def by_teacher(
    c: Case, answers: Answers, numbers_B: Numbers, weight: float, parts: int = 1, as_on_a_gpu: bool = False
) -> tuple[Tensor, ...]:
    """Loss and gradients by the teacher and `guided_loss`, in micro-batches of whole blocks.

    as_on_a_gpu: cut and multiply the rows by the code for a GPU.
    """
    c.reset()
    teacher = ModelTeacher(answers, CPU)
    if as_on_a_gpu:
        teacher.parents_on_device = device_table(answers.parent, CPU)
    guidance = teacher.guide(c.output_VxD, c.context_N.numpy(), weight, c.bias_V, blocks=numbers_B)
    total = torch.zeros((), dtype=c.hidden_NxD.dtype)
    for part in torch.arange(len(numbers_B)).chunk(parts):
        here = slice(int(part[0]) * POSITIONS, (int(part[-1]) + 1) * POSITIONS)
        loss = guided_loss(c.hidden_NxD[here], c.output_VxD, c.target_N[here], guidance[part], c.bias_V)
        loss.backward()
        total += loss.detach()
    return total, *c.gradients()


@given(st.data())
@settings(max_examples=25)
def test_the_loss_is_cross_entropy_with_the_dense_truncated_target(data: st.DataObject) -> None:
    """The loss is exact for random answers, numbers of kept tokens, blocks, weights, micro-batches and spare rows."""
    p_BxTxV = distributions(seed=data.draw(st.integers(0, 2**20)), sharp=data.draw(st.floats(0, 20)))
    answers = answers_of(p_BxTxV, top_k=data.draw(st.integers(1, V)))
    numbers_B = np.array(data.draw(st.lists(st.integers(0, BLOCKS - 1), min_size=1, max_size=8)), np.uint32)
    c = case_of(numbers_B, rows=V + data.draw(st.integers(0, 3)))
    weight, parts, as_on_a_gpu = data.draw(st.floats(1e-6, 1)), data.draw(st.integers(1, 4)), data.draw(st.booleans())
    expected = by_dense_target(c, answers, numbers_B, weight)
    assert_equal(by_teacher(c, answers, numbers_B, weight, parts, as_on_a_gpu), expected, 1e-7)


def test_a_step_by_the_code_for_a_gpu_never_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, numbers_B = answers_of(top_k=3), np.array([3, 0, 3], np.uint32)
    c = case_of(numbers_B, torch.float32)
    teacher, context_BxT = ModelTeacher(answers, CPU), c.context_N.numpy()
    teacher.parents_on_device = device_table(answers.parent, CPU)
    with refused_waits(monkeypatch):
        guidance = teacher.guide(c.output_VxD, context_BxT, 0.7, c.bias_V, blocks=numbers_B)
        loss = guided_loss(c.hidden_NxD, c.output_VxD, c.target_N, guidance, c.bias_V)
        loss.backward()
    found = (loss.detach(), *c.gradients())
    assert_equal(found, by_teacher(c, answers, numbers_B, 0.7), 1e-5)


def exact_answers(top_k: int = 4) -> Answers:
    """Answers whose parent has binary fractions, so that rows sum to 1 without any error; half of them are sparse."""
    base_V = np.full(V, 1 / 16, np.float32)
    base_V[:3] *= 2
    assert base_V.sum() == 1
    next_V = (np.arange(V) * 5 + 1) % V
    parent = BigramTable(
        indptr=np.arange(V + 1, dtype=np.int64),
        indices=next_V.astype(np.uint16),
        values=np.full(V, 0.5, np.float32),
        backoff_V=np.full(V, 0.5, np.float32),
        base_V=base_V,
        vocab_size=V,
        smoothing="by hand",
        strength=None,
        tokenizer_fingerprint="abc",
        counted_tokens=1,
        rows="student",
    )
    return replace(answers_of(top_k=top_k), parent=parent)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("parts", [1, 3])
def test_the_loss_is_exact_if_the_rows_sum_exactly_to_1(bias: bool, parts: int) -> None:
    """The sum of an ordinary float32 row differs from 1 by up to 1e-7, which would hide errors of that size."""
    numbers_B = np.array([3, 0, 5])
    c = case_of(numbers_B)
    c.bias_V = c.bias_V if bias else None
    expected = by_dense_target(c, exact_answers(), numbers_B, 0.7)
    assert_equal(by_teacher(c, exact_answers(), numbers_B, 0.7, parts), expected, 1e-10)


def test_the_loss_agrees_in_float32() -> None:
    numbers_B = np.array([3, 0, 5])
    c, answers = case_of(numbers_B, torch.float32), answers_of()
    assert_equal(by_teacher(c, answers, numbers_B, 0.7, 3), by_dense_target(c, answers, numbers_B, 0.7), 1e-5)


def step_of(numbers_AxB: Numbers) -> list[Batch]:
    """Micro-batches of random ids, for the blocks with these numbers."""
    ids_BxT = np.random.default_rng(0).integers(0, V, (BLOCKS, POSITIONS + 1))
    return [
        Batch(torch.from_numpy(ids_BxT[row, :-1]), torch.from_numpy(ids_BxT[row, 1:]), ids_BxT[row, :-1], row)
        for row in numbers_AxB
    ]


def gradients(model: LlamaForCausalLM) -> list[Tensor]:
    found = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    assert len(found) == len(list(model.parameters()))
    model.zero_grad()
    return found


def of_step(
    model: LlamaForCausalLM, answers: Answers, batches: list[Batch], targets: int
) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradients of one optimizer step of the training loop."""
    plain, scaler = torch.autocast("cpu", enabled=False), torch.amp.GradScaler("cpu", enabled=False)
    loss = backward(model, ModelTeacher(answers), batches, targets, 0.6, plain, scaler)
    return loss, gradients(model)


@pytest.mark.parametrize("tied", [False, True])
def test_a_step_of_a_model_has_the_gradients_of_the_dense_target(tied: bool) -> None:
    """A step of a whole Llama, in two micro-batches, is exact with tied and with untied embeddings."""
    llama = student_config(ModelConfig(hidden=16), V, POSITIONS)
    llama.tie_word_embeddings = tied
    model, answers = fresh_model(llama, seed=0), exact_answers()
    assert (model.model.embed_tokens.weight is output_matrix(model)) == tied
    numbers_AxB = np.array([[1, 4], [0, 2]])
    batches = step_of(numbers_AxB)
    loss, ours = of_step(model, answers, batches, numbers_AxB.size * POSITIONS)

    logits_NxV = model(input_ids=torch.cat([batch.context_BxT for batch in batches])).logits.flatten(0, 1)
    target_N = torch.cat([batch.target_BxT for batch in batches]).flatten()
    context_N = torch.cat([batch.context_BxT for batch in batches])
    dense = dense_losses(logits_NxV, target_N, dense_rows(answers, numbers_AxB, context_N), 0.6).mean()
    dense.backward()
    torch.testing.assert_close(loss, dense.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours, gradients(model), rtol=1e-4, atol=1e-6)


def test_two_workers_make_the_same_gradients_as_one() -> None:
    """The gradients of two simulated workers, each with its share of the blocks, add up to those of one."""
    model, answers = fresh_model(student_config(ModelConfig(hidden=16), V, POSITIONS), seed=0), answers_of()
    numbers_AxB = np.array([[1, 4, 3], [0, 2, 5]])
    _, alone = of_step(model, answers, step_of(numbers_AxB), numbers_AxB.size * POSITIONS)
    shares = [np.array([Ranks(rank, 2).share(row) for row in numbers_AxB]) for rank in (0, 1)]
    both = [of_step(model, answers, step_of(share), numbers_AxB.size * POSITIONS)[1] for share in shares]
    torch.testing.assert_close([one + other for one, other in zip(*both, strict=True)], alone, rtol=1e-4, atol=1e-6)


def test_answers_depend_on_the_number_of_the_block() -> None:
    """The same contexts with other block numbers give another loss."""
    c, answers = case_of(np.array([0, 1])), answers_of()
    first, second = (by_teacher(c, answers, np.array(numbers), 0.7)[0] for numbers in ([0, 1], [1, 0]))
    assert not torch.isclose(first, second)


@pytest.mark.parametrize(
    ("numbers", "length", "token", "message"),
    [
        (None, POSITIONS, 0, "give guide.. the numbers of the training blocks"),
        ([0, BLOCKS], POSITIONS, 0, f"block {BLOCKS} is outside the {BLOCKS} that"),
        ([0, 1], POSITIONS - 1, 0, f"has answered to {POSITIONS} positions of each block"),
        ([0, 1, 2], POSITIONS, 0, "for 3 blocks"),
        ([0, 1], POSITIONS, V, f"token id {V} is outside the {V} that"),
        ([0, 1], POSITIONS, -1, "token id -1 is outside"),
    ],
)
def test_contexts_without_answers_are_refused(numbers: list[int] | None, length: int, token: int, message: str) -> None:
    blocks = None if numbers is None else np.array(numbers)
    with pytest.raises(InputError, match=message):
        ModelTeacher(answers_of(), CPU).guide(torch.zeros(V, D), np.full((2, length), token), 0.5, blocks=blocks)


def test_prepare_is_refused_with_the_name_of_the_function_that_makes_answers() -> None:
    def counts() -> Any:
        raise AssertionError("the teacher asks for counts")

    with pytest.raises(InputError, match=r"use trainable[.]prepare[.]prepare_run"):
        teacher_class("model").prepare(Material(counts=counts, vocab_size=V, **IDS))
