"""ASHA within each depth: who is judged, when, by whom, once; and the same after a restart."""

import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sweep_specs import small_sweep

from sweeps.engine.order.asha import DepthAsha
from sweeps.engine.specs.pairs import control_plan
from sweeps.engine.specs.search import AshaSpec, guided_plan
from trainable import names
from trainable.record.ledger import read_lines
from trainable.record.run_files import RunFiles

GO, STOP = "CONTINUE", "STOP"
SWEEP = small_sweep()
LINEAR = {"teacher.schedule": "linear", "teacher.steps": 20}


def asha(folder: Path, steps: int = 160) -> DepthAsha:
    return DepthAsha(AshaSpec(grace_period=20), steps, RunFiles(folder))


def report(scheduler: DepthAsha, role: str, step: int, gain: float, floor: float = 0.0) -> str:
    """What the scheduler says to a report of a trial of that role."""
    plan = guided_plan(SWEEP.base, role, LINEAR | {"teacher.min_weight": floor})
    if role == names.CONTROL:
        plan = control_plan(SWEEP.base)
    trial: Any = SimpleNamespace(config={"plan": plan.to_dict()})
    return scheduler.on_trial_result(None, trial, {names.STEP: step, names.GAIN: gain})


def test_first_arrival_at_a_rung_goes_on_whatever_its_gain(tmp_path: Path) -> None:
    scheduler = asha(tmp_path)
    assert scheduler.judge("a", 1, 20, -9.0) == GO
    assert scheduler.judge("a", 1, 40, -9.0) == GO


def test_trial_below_the_median_of_its_rung_is_stopped(tmp_path: Path) -> None:
    scheduler = asha(tmp_path)
    decisions = [scheduler.judge(name, 1, 20, gain) for name, gain in [("a", 0.2), ("b", 0.4), ("c", 0.1), ("d", 0.5)]]
    assert decisions == [GO, GO, STOP, GO]
    assert [name for name in "abcd" if scheduler.has_stopped(name)] == ["c"]


def test_depths_are_ranked_apart(tmp_path: Path) -> None:
    scheduler = asha(tmp_path)
    for name, gain in [("a", 0.8), ("b", 0.9)]:
        scheduler.judge(name, 1, 20, gain)
    assert scheduler.judge("shallow", 1, 20, 0.1) == STOP
    assert scheduler.judge("deep", 2, 20, 0.1) == GO
    assert scheduler.judge("deeper", 2, 20, 0.2) == GO


def test_decision_is_taken_once_and_repeated(tmp_path: Path) -> None:
    scheduler = asha(tmp_path)
    scheduler.judge("a", 1, 20, 0.5)
    assert scheduler.judge("b", 1, 20, 0.1) == STOP
    assert scheduler.judge("b", 1, 20, 9.0) == STOP
    assert scheduler.judge("a", 1, 20, -9.0) == GO
    assert [row["gain"] for row in read_lines(tmp_path / names.RUNGS_FILE)] == [0.5, 0.1]


@pytest.mark.parametrize("role", [names.CONTROL, names.CONFIRM])
def test_controls_and_confirmations_are_never_judged(tmp_path: Path, role: str) -> None:
    scheduler = asha(tmp_path)
    scheduler.judge("a", 1, 20, 0.5)
    assert report(scheduler, role, 20, -9.0) == GO
    assert len(read_lines(tmp_path / names.RUNGS_FILE)) == 1


def test_search_trial_is_judged_by_its_report_at_a_rung(tmp_path: Path) -> None:
    scheduler = asha(tmp_path)
    scheduler.judge("a", 1, 20, 0.5)
    assert report(scheduler, names.SEARCH, 20, 0.1) == STOP


@pytest.mark.parametrize("step", [0, 10, 30, 50, 160])
def test_reports_between_rungs_or_at_the_end_are_not_judged_and_fill_no_rung(tmp_path: Path, step: int) -> None:
    scheduler = asha(tmp_path)
    for rung in (20, 40, 80):
        scheduler.judge("a", 1, rung, 0.5)
    assert report(scheduler, names.SEARCH, step, -9.0) == GO
    assert len(read_lines(tmp_path / names.RUNGS_FILE)) == 3


@pytest.mark.parametrize("gain", [math.nan, math.inf, -math.inf])
def test_gain_that_is_no_number_is_not_recorded(tmp_path: Path, gain: float) -> None:
    scheduler = asha(tmp_path)
    report(scheduler, names.SEARCH, 20, gain)
    assert read_lines(tmp_path / names.RUNGS_FILE) == []


def test_restart_at_any_point_equals_no_restart(tmp_path: Path) -> None:
    rng = random.Random(0)
    arrivals = [(f"t{i}", 1 + i % 2, rung, rng.gauss(0, 1)) for i in range(20) for rung in (20, 40)]
    rng.shuffle(arrivals)
    (tmp_path / "whole").mkdir()
    straight = asha(tmp_path / "whole")
    expected = [straight.judge(*arrival) for arrival in arrivals]
    assert {GO, STOP} == set(expected)
    for cut in range(0, len(arrivals), 3):
        folder = tmp_path / str(cut)
        folder.mkdir()
        first = asha(folder)
        before = [first.judge(*arrival) for arrival in arrivals[:cut]]
        second = asha(folder)
        assert before + [second.judge(*arrival) for arrival in arrivals[cut:]] == expected
        lost = {arrival[0] for arrival, decision in zip(arrivals[:cut], before, strict=True) if decision == STOP}
        third = asha(folder)
        assert {name for name, *_ in arrivals if third.has_stopped(name)} >= lost
        assert all(third.judge(*arrival) == STOP for arrival in arrivals[:cut] if arrival[0] in lost)
