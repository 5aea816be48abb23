"""Cost of a guided step: median, least and greatest ratio over pairs of a plain and a guided run of the loop."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small_corpus import small_config

from trainable import names
from trainable.config import TrialConfig
from trainable.prepare import prepare_run
from trainable.student import step_cost as module
from trainable.student.run_data import RunData
from trainable.student.step_cost import LEAST_PAIRS, PAIRS, cost_of, step_cost


def test_the_ratio_is_the_median_over_pairs_with_the_least_and_the_greatest() -> None:
    """The ratio is taken within each pair, because a machine that slows down for a while slows both runs of a pair."""
    cost = cost_of([(1.0, 1.2), (4.0, 4.0), (2.0, 2.2)], tokens=64)
    assert (cost.ratio, cost.ratio_low, cost.ratio_high) == pytest.approx((1.1, 1.0, 1.2))
    assert (cost.plain, cost.pairs, cost.tokens) == (2.0, 3, 64)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Simulated clock: its only entry is the time in seconds, which a test advances."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(("seconds", "pairs"), [(0.0, PAIRS), (module.SECONDS, LEAST_PAIRS)])
def test_the_first_pair_warms_up_and_slow_steps_are_measured_fewer_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked: list[float], seconds: float, pairs: int
) -> None:
    taken: list[bool] = []

    def of_a_step(config: TrialConfig, data: RunData) -> float:
        looked[0] += seconds
        taken.append(config.teacher.schedule != "none")
        return 100.0 if len(taken) <= 2 else 2.0 if taken[-1] else 1.0

    monkeypatch.setattr(module, "seconds_a_step", of_a_step)
    config = small_config(tmp_path)
    data, _ = prepare_run(config, tmp_path / "cache")
    cost = step_cost(config, data)
    assert taken == [False, True] * (pairs + 1)
    assert (cost.pairs, cost.ratio, cost.ratio_high) == (pairs, 2.0, 2.0)


def test_measured_steps_are_steps_of_the_training_loop_on_the_batches_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guided steps have a teacher of weight 1, plain steps have none; only one validation block is evaluated."""
    reports: list[dict[str, float]] = []
    train = module.train

    def listened(config: TrialConfig, data: RunData, report: Callable[[dict[str, float]], None]) -> None:
        assert (config.loop.batch_blocks, config.tokens.context, len(data.eval.ids_BxT)) == (4, 32, 1)

        def both(row: dict[str, float]) -> None:
            reports.append(row)
            report(row)

        train(config, data, both)

    monkeypatch.setattr(module, "train", listened)
    monkeypatch.setattr(module, "PAIRS", 1)
    monkeypatch.setattr(module, "LEAST_PAIRS", 1)
    config = small_config(tmp_path, {"teacher.kind": "bigram", "teacher.smoothing": "modified_kneser_ney"})
    data, _ = prepare_run(config, tmp_path / "cache")
    cost = step_cost(config, data)
    assert [row[names.TEACHER_WEIGHT] for row in reports] == ([0.0] * 4 + [1.0] * 4) * 2
    assert cost.tokens == 4 * 32
    assert cost.plain > 0
    spent = [row[names.TRAIN_SECONDS] for row in reports]
    assert cost.plain == pytest.approx((spent[11] - spent[9]) / 2), "the first step of a run was counted"
