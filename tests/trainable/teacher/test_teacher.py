"""The teacher at work: the rows E of a step, and the chain rule that closes it."""

import pytest
from loss_cases import CPU, V, assert_equal, by_dense_target, by_guided_loss, case, exact, table_of

from trainable.teacher.kinds.bigram import BigramTeacher


def test_smoothed_tables_use_the_shared_vector() -> None:
    """Else the tests above would not see a forgotten backoff."""
    for smoothing in ("witten_bell", "modified_kneser_ney"):
        table = exact(table_of(smoothing))
        assert (table.backoff_V[: V - 2] > 0.05).any()
        assert table.base_V.std() > 0.01


@pytest.mark.parametrize("panel", [1, 2, 4])
def test_width_of_the_panels_does_not_matter(panel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainable.teacher.host_rows.PANEL", panel)
    table, c = exact(table_of("modified_kneser_ney")), case()
    assert_equal(by_guided_loss(c, table, 0.7), by_dense_target(c, table, 0.7), 1e-10)


def test_guide_leaves_no_gradient_on_the_output_matrix() -> None:
    c = case()
    BigramTeacher(table_of("modified_kneser_ney"), CPU).guide(c.output_VxD, c.context_N, 0.5)
    assert c.output_VxD.grad is None


def test_close_before_backward_is_a_mistake_of_the_programmer() -> None:
    c = case()
    guidance = BigramTeacher(table_of("mle"), CPU).guide(c.output_VxD, c.context_N, 0.5)
    with pytest.raises(AssertionError, match="close"):
        guidance.close(c.output_VxD)
