"""A teacher's rows multiplied as on a GPU, but on a CPU: the same numbers, and no call that waits for the device."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import CPU, EOS, assert_equal, by_dense_target, case, exact, refused_waits, table_of
from torch import Tensor

from trainable.student.guided_loss import guided_loss
from trainable.teacher import device_rows
from trainable.teacher.device_rows import DeviceRows
from trainable.teacher.host_rows import HostRows
from trainable.teacher.kinds.bigram import BigramTeacher, device_table
from trainable.teacher.smoothing import SMOOTHINGS
from trainable.teacher.table import BigramTable, cut_rows


def teacher_of(table: BigramTable, product: torch.dtype | None = None) -> BigramTeacher:
    """A bigram teacher that multiplies its rows as on a GPU."""
    teacher = BigramTeacher(table, CPU)
    teacher.on_device = device_table(table, CPU, product)
    return teacher


def host_rows(table: BigramTable, contexts_C: np.ndarray) -> HostRows:
    """Rows of a table that are multiplied as on a CPU."""
    return HostRows(*cut_rows(table, contexts_C, np.int32), table.vocab_size, torch.float32)


def device_rows_of(
    table: BigramTable, contexts_C: np.ndarray, device: torch.device, product: torch.dtype | None = None
) -> DeviceRows:
    """Rows of a table that are multiplied as on a GPU."""
    return device_table(table, device, product).cut(contexts_C, np.diff(table.indptr)[contexts_C], torch.float32)


def guided(c: Any, teacher: BigramTeacher, weight: float, parts: int = 1) -> tuple[Tensor, ...]:
    """Loss and gradients, with context ids in a numpy array, as in the training loop."""
    c.reset()
    guidance = teacher.guide(c.output_VxD, c.context_N.numpy(), weight, c.bias_V)
    total = torch.zeros((), dtype=c.hidden_NxD.dtype)
    for index in torch.arange(len(c.target_N)).chunk(parts):
        loss = guided_loss(c.hidden_NxD[index], c.output_VxD, c.target_N[index], guidance[index], c.bias_V)
        loss.backward()
        total += loss.detach()
    return total, *c.gradients()


def set_long_row(patch: pytest.MonkeyPatch, share: float) -> None:
    """Have rows that are longer than `share` of the vocabulary multiplied as dense tiles."""
    patch.setattr(device_rows, "LONG_ROW", dict.fromkeys((torch.float32, torch.float64, torch.bfloat16), share))


@given(st.data())
@settings(max_examples=30)
def test_the_loss_is_cross_entropy_with_the_dense_soft_target(data: st.DataObject) -> None:
    """The loss is exact for any share of long rows (none to all), size of tiles, smoothing and micro-batches."""
    vocab_size = data.draw(st.integers(EOS + 2, 40))
    method, seed = data.draw(st.sampled_from(list(SMOOTHINGS))), data.draw(st.integers(0, 2**32))
    table = exact(table_of(method, seed, data.draw(st.integers(1, 200)), vocab_size))
    positions, rows = data.draw(st.integers(1, 30)), vocab_size + data.draw(st.integers(0, 5))
    c = case(seed, positions, rows, vocab_size=vocab_size, bias=data.draw(st.booleans()))
    weight, parts = data.draw(st.floats(1e-6, 1)), data.draw(st.integers(1, 3))
    with pytest.MonkeyPatch.context() as patch:
        set_long_row(patch, data.draw(st.sampled_from([-1.0, 0.0, 0.05, 0.2, 1.0])))
        patch.setattr(device_rows, "SCRATCH_BYTES", data.draw(st.sampled_from([1, 8 * vocab_size * 3, 1 << 28])))
        found = guided(c, teacher_of(table), weight, parts)
    assert_equal(found, by_dense_target(c, table, weight), 1e-10)


@pytest.mark.parametrize("share", [-1.0, 0.1, 1.0])
def test_both_products_equal_those_of_the_host_in_float32(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    set_long_row(monkeypatch, share)
    table, contexts_C = table_of("modified_kneser_ney"), np.array([0, 2, 3, 7])
    output_VxD, grad_CxD = torch.randn(table.vocab_size, 5), torch.randn(4, 5)
    host = host_rows(table, contexts_C)
    rows = device_rows_of(table, contexts_C, CPU)
    torch.testing.assert_close(rows.times(output_VxD), host.times(output_VxD), rtol=1e-5, atol=1e-6)
    ours, theirs = torch.ones(2, table.vocab_size, 5)
    rows.add_transposed(ours, grad_CxD)
    host.add_transposed(theirs, grad_CxD)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("product", [None, torch.bfloat16])
def test_products_with_a_bias_are_in_float32_whatever_the_dtype_of_other_products(product: torch.dtype | None) -> None:
    """A bias is never rounded to bfloat16: the rounding of a bias of -9 would change it by 0.03 nats."""
    table, contexts_C = table_of("modified_kneser_ney"), np.array([0, 2, 3, 7])
    bias_Vx1, grad_Cx1 = torch.randn(table.vocab_size, 1) - 9, torch.randn(4, 1)
    host = host_rows(table, contexts_C)
    rows = device_rows_of(table, contexts_C, CPU, product)
    assert bool(rows.long) == (product is not None)
    torch.testing.assert_close(rows.times(bias_Vx1), host.times(bias_Vx1), rtol=1e-6, atol=1e-6)
    ours, theirs = torch.ones(2, table.vocab_size, 1)
    rows.add_transposed(ours, grad_Cx1)
    host.add_transposed(theirs, grad_Cx1)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_products_in_bfloat16_agree_to_their_precision() -> None:
    """The tolerance allows several roundings in a gradient, each of 4e-3 (bfloat16 has 8 bits)."""
    table, c = table_of("modified_kneser_ney"), case(dtype=torch.float32)
    expected = guided(c, teacher_of(table), 0.7)
    found = guided(c, teacher_of(table, torch.bfloat16), 0.7)
    assert not torch.equal(found[2], expected[2])
    assert_equal(found, expected, 2e-2)


@pytest.mark.parametrize("share", [-1.0, 1.0])
def test_a_step_never_waits_for_the_device(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step calls none of the Tensor methods that wait, on a GPU, until all its work is done."""
    set_long_row(monkeypatch, share)
    table, c = table_of("modified_kneser_ney"), case(dtype=torch.float32, bias=True)
    teacher = teacher_of(table)
    with refused_waits(monkeypatch):
        guidance = teacher.guide(c.output_VxD, np.asarray([1, 2, 3, 1]), 0.5, c.bias_V)
        guided_loss(c.hidden_NxD[:4], c.output_VxD, c.target_N[:4], guidance, c.bias_V).backward()
    assert c.output_VxD.grad is not None and c.output_VxD.grad.abs().sum() > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and PyTorch finds none here")
@pytest.mark.parametrize(("product", "tolerance"), [(None, 1e-5), (torch.bfloat16, 2e-2)])
def test_both_products_on_a_gpu_equal_those_of_the_host(product: torch.dtype | None, tolerance: float) -> None:
    table, contexts_C = table_of("mle", length=20_000, vocab_size=2000), np.arange(0, 1999, 3)
    output_VxD, grad_CxD = torch.randn(2000, 32), torch.randn(len(contexts_C), 32)
    host, ours = host_rows(table, contexts_C), torch.zeros(2000, 32, device="cuda")
    rows = device_rows_of(table, contexts_C, torch.device("cuda"), product)
    assert bool(rows.long) == (product is not None)
    expected_CxD = rows.times(output_VxD.cuda()).cpu()
    torch.testing.assert_close(expected_CxD, host.times(output_VxD), rtol=tolerance, atol=tolerance)
    rows.add_transposed(ours, grad_CxD.cuda())
    theirs = torch.zeros(2000, 32)
    host.add_transposed(theirs, grad_CxD)
    torch.testing.assert_close(ours.cpu(), theirs, rtol=tolerance, atol=20 * tolerance)
