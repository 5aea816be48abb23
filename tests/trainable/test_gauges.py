"""Gauges of a running trial: their values, and how long they are set. With Ray and Prometheus: test_prometheus.py."""

import math
import time
from typing import Any

import pytest

from trainable import gauges, names
from trainable.config import TrialConfig, override
from trainable.gauges import GAUGES, TAGS, TrialGauges
from trainable.plan import TrialPlan

PLAN = TrialPlan(
    name="linear-T10-L2-s0",
    role=names.SEARCH,
    control="none-L2-s0",
    config=override(TrialConfig(), {"model.layers": 2}),
)
ROW = {names.STEP: 20, names.EVAL_LOSS: 5.5, names.GAIN: 0.25, names.TEACHER_WEIGHT: 0.0, names.TOKENS_PER_SECOND: 9e3}
PATIENCE = 900  # seconds


class Recorder:
    """Stand-in for Ray's gauges that records every value to which a gauge is set."""

    def __init__(self) -> None:
        self.set_to: list[tuple[str, float, dict[str, str]]] = []

    def gauge(self, name: str, description: str, tag_keys: tuple[str, ...]) -> Any:
        recorder = self

        class Gauge:
            def set(self, value: float, tags: dict[str, str]) -> None:
                assert set(tags) == set(tag_keys) == set(TAGS)
                recorder.set_to.append((name, value, tags))

        return Gauge()

    def values(self, name: str) -> list[float]:
        return [value for its_name, value, _ in self.set_to if its_name == name]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def shown(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(gauges, "_REPEAT_SECONDS", 0.01)
    shown = TrialGauges("kfold", "run", PLAN, recorder.gauge)
    yield shown
    shown.close()


def wait_for_repeats(recorder: Recorder, name: str, number: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(recorder.values(name)) < number:
        assert time.monotonic() < deadline, "the gauge was not set again"
        time.sleep(0.01)


def test_a_report_sets_each_gauge_to_its_number_with_the_tags_of_the_trial(
    shown: TrialGauges, recorder: Recorder
) -> None:
    shown.show(ROW)
    shown.close()
    assert {name: value for name, value, _ in recorder.set_to} == ROW
    assert set(GAUGES) == set(ROW)
    tags = {"study": "kfold", "run": "run", "trial": "linear-T10-L2-s0", "role": "search", "layers": "2"}
    assert all(its_tags == tags for _, _, its_tags in recorder.set_to)


def test_the_last_report_is_set_again_while_the_trial_runs_and_never_after_a_newer_report(
    shown: TrialGauges, recorder: Recorder
) -> None:
    shown.show(ROW)
    wait_for_repeats(recorder, names.EVAL_LOSS, 3)
    shown.show(ROW | {names.EVAL_LOSS: 5.0})
    wait_for_repeats(recorder, names.EVAL_LOSS, len(recorder.values(names.EVAL_LOSS)) + 3)
    losses = recorder.values(names.EVAL_LOSS)
    assert losses == sorted(losses, reverse=True) and set(losses) == {5.5, 5.0}


def test_the_thread_that_sets_gauges_ends_with_the_trial(shown: TrialGauges, recorder: Recorder) -> None:
    shown.show(ROW)
    shown.close()
    assert not shown._thread.is_alive()


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_an_unknown_number_is_not_set(shown: TrialGauges, recorder: Recorder, unknown: float | None) -> None:
    shown.show(ROW | {names.TOKENS_PER_SECOND: unknown})
    shown.close()
    assert recorder.values(names.TOKENS_PER_SECOND) == []
    assert len(recorder.values(names.EVAL_LOSS)) >= 1


def test_no_gauge_is_set_before_the_first_report(shown: TrialGauges, recorder: Recorder) -> None:
    shown.close()
    assert recorder.set_to == []
