"""Guidance of a bigram teacher: the rows E of a step, and the chain rule through E in the last backward pass."""

import gc

import pytest
import torch
from loss_cases import CPU, V, assert_equal, by_dense_target, by_guided_loss, case, exact, table_of

from trainable.student.guided_loss import guided_loss
from trainable.teacher.kinds.bigram import BigramTeacher


def test_smoothed_tables_give_weight_to_the_shared_vector() -> None:
    """The tables of these tests give the shared vector a visible share, so a forgotten back-off would show."""
    for smoothing in ("witten_bell", "modified_kneser_ney"):
        table = exact(table_of(smoothing))
        assert (table.backoff_V[: V - 2] > 0.05).any()
        assert table.base_V.std() > 0.01


@pytest.mark.parametrize(("panel", "piece"), [(1, 4096), (2, 3), (4, 1)])
def test_size_of_panels_and_pieces_does_not_matter(panel: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainable.teacher.host_rows.PANEL", panel)
    monkeypatch.setattr("trainable.teacher.host_rows.PIECE", piece)
    table, c = exact(table_of("modified_kneser_ney")), case()
    assert_equal(by_guided_loss(c, table, 0.7), by_dense_target(c, table, 0.7), 1e-10)


def test_guide_leaves_no_gradient_on_the_output_matrix() -> None:
    c = case()
    BigramTeacher(table_of("modified_kneser_ney"), CPU).guide(c.output_VxD, c.context_N, 0.5)
    assert c.output_VxD.grad is None


@pytest.mark.parametrize("bias", [False, True])
def test_the_last_backward_pass_of_a_step_adds_the_gradient_through_the_teacher(bias: bool) -> None:
    """Hooks of W see the whole gradient, so DistributedDataParallel and gradient scalers do as well."""
    c, table = case(bias=bias), exact(table_of("modified_kneser_ney"))
    guidance = BigramTeacher(table, CPU).guide(c.output_VxD, c.context_N, 0.7, c.bias_V)
    assert guidance.expected_RxD is not None
    seen: list[torch.Tensor] = []
    c.output_VxD.register_hook(lambda grad: seen.append(grad.clone()))
    first, last = torch.arange(len(c.target_N)).split([30, 10])
    for part in (first, last):
        assert not seen or guidance.expected_RxD.grad is not None
        loss = guided_loss(c.hidden_NxD[part], c.output_VxD, c.target_N[part], guidance[part], c.bias_V)
        loss.backward()
    assert guidance.expected_RxD.grad is None, "E.grad is still there"
    found = (torch.zeros(()), *c.gradients())
    assert_equal(found[1:], by_dense_target(c, table, 0.7)[1:], 1e-10)
    torch.testing.assert_close(seen[0] + seen[1], found[2], atol=1e-12, rtol=1e-12)


def test_a_step_that_does_not_use_all_its_positions_gives_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    c = case()
    guidance = BigramTeacher(table_of("mle"), CPU).guide(c.output_VxD, c.context_N, 0.5)
    guided_loss(c.hidden_NxD[:24], c.output_VxD, c.target_N[:24], guidance[:24]).backward()
    assert not caplog.messages
    del guidance
    gc.collect()
    [said] = caplog.messages
    assert said.startswith("guide() was given 40 positions of an optimizer step, but only 24 of them had a backward")


def test_positions_used_twice_raise_an_assertion_error() -> None:
    c = case()
    guidance = BigramTeacher(table_of("mle"), CPU).guide(c.output_VxD, c.context_N, 0.5)
    losses = [
        guided_loss(c.hidden_NxD[part], c.output_VxD, c.target_N[part], guidance[part])
        for part in (slice(30), slice(20, 40))
    ]
    losses[0].backward()
    with pytest.raises(AssertionError, match="twice"):
        losses[1].backward()


def test_a_teacher_of_weight_zero_computes_no_expectation() -> None:
    c = case()
    guidance = BigramTeacher(table_of("mle"), CPU).guide(c.output_VxD, c.context_N, 0.0)
    assert guidance.expected_RxD is None
    assert guidance[:3] is guidance
