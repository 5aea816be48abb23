"""ASHA within each group: which trials it judges, at which steps, among which trials; the same after a restart."""

import math
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sweep_specs import small_arms, small_sweep

from sweeps.engine.order.asha import GroupAsha
from sweeps.engine.specs.asha_spec import AshaSpec
from sweeps.engine.specs.space import Range, points
from trainable import names
from trainable.plan import TrialPlan
from trainable.record.ledger import read_lines
from trainable.record.run_files import RunFiles

GO, STOP = "CONTINUE", "STOP"
STEPS = 160  # rungs at 20, 40, 80
SWEEP = small_sweep({"loop.steps": STEPS}, arms=small_arms(teacher__steps=Range(10, STEPS, 10)))
GROUPS = {group.key: group for group in SWEEP.groups}
CONTROL = GROUPS[1, "control"]


def asha(folder: Path) -> GroupAsha:
    return GroupAsha(AshaSpec(grace_period=20), STEPS, RunFiles(folder))


def plans(arm: str = "bigram", layers: int = 1, ends: int = 10) -> Iterator[TrialPlan]:
    """Different searched trials of a group, whose schedules end at step `ends`."""
    group = GROUPS[layers, arm]
    settings = (point for point in points(group.arm.space) if point["teacher.steps"] == ends)
    return map(group.search_plan, settings)


def report(scheduler: GroupAsha, plan: TrialPlan, step: int, gain: float) -> str:
    """Report a trial's gain at a step, and return the scheduler's decision."""
    trial: Any = SimpleNamespace(config={"plan": plan.to_dict()})
    return scheduler.on_trial_result(None, trial, {names.STEP: step, names.GAIN: gain})


def recorded(folder: Path) -> list[tuple[str, int]]:
    """(trial, rung) of each judgement in asha.jsonl."""
    return [(row["trial"], row[names.STEP]) for row in read_lines(folder / names.RUNGS_FILE)]


def test_first_arrival_at_a_rung_goes_on_whatever_its_gain(tmp_path: Path) -> None:
    scheduler, plan = asha(tmp_path), next(plans())
    assert report(scheduler, plan, 20, -9.0) == GO
    assert report(scheduler, plan, 40, -9.0) == GO


def test_trial_below_the_median_of_its_rung_is_stopped(tmp_path: Path) -> None:
    scheduler, arrivals = asha(tmp_path), list(plans())[:4]
    decisions = [report(scheduler, plan, 20, gain) for plan, gain in zip(arrivals, [0.2, 0.4, 0.1, 0.5], strict=True)]
    assert decisions == [GO, GO, STOP, GO]
    assert [plan for plan in arrivals if scheduler.has_stopped(plan.name)] == [arrivals[2]]


@pytest.mark.parametrize("other", [("bigram", 2), ("uniform", 1)])
def test_groups_are_ranked_separately(tmp_path: Path, other: tuple[str, int]) -> None:
    scheduler, own, others = asha(tmp_path), plans(), plans(*other)
    for gain in (0.8, 0.9):
        assert report(scheduler, next(own), 20, gain) == GO
    assert report(scheduler, next(own), 20, 0.1) == STOP
    assert report(scheduler, next(others), 20, 0.1) == GO
    assert report(scheduler, next(others), 20, 0.2) == GO


@pytest.mark.parametrize(("ends", "judged"), [(20, [20, 40, 80]), (30, [40, 80]), (80, [80]), (90, []), (160, [])])
def test_a_trial_is_judged_only_at_rungs_at_or_after_its_own_schedules_end(
    tmp_path: Path, ends: int, judged: list[int]
) -> None:
    scheduler, plan = asha(tmp_path), next(plans(ends=ends))
    for step in range(0, STEPS + 1, 10):
        assert report(scheduler, plan, step, 0.5) == GO
    assert recorded(tmp_path) == [(plan.name, rung) for rung in judged]


def test_a_trial_is_judged_only_against_those_whose_schedules_have_ended(tmp_path: Path) -> None:
    """A trial does not count at a rung before the end of its own schedule, however large its gain is."""
    scheduler, ended = asha(tmp_path), plans(ends=20)
    for teaching in list(plans(ends=30))[:4]:
        assert report(scheduler, teaching, 20, 9.0) == GO
    assert report(scheduler, next(ended), 20, 0.1) == GO
    assert report(scheduler, next(ended), 20, 0.2) == GO
    for caught_up in list(plans(ends=30))[:4]:
        report(scheduler, caught_up, 40, 9.0)
    assert report(scheduler, next(ended), 40, 0.1) == STOP


def test_decision_is_taken_once_and_repeated(tmp_path: Path) -> None:
    scheduler, (first, second, *_) = asha(tmp_path), plans()
    report(scheduler, first, 20, 0.5)
    assert report(scheduler, second, 20, 0.1) == STOP
    assert report(scheduler, second, 20, 9.0) == STOP
    assert report(scheduler, first, 20, -9.0) == GO
    assert [row["gain"] for row in read_lines(tmp_path / names.RUNGS_FILE)] == [0.5, 0.1]


def test_reference_control_is_ranked_with_its_group_and_never_stopped(tmp_path: Path) -> None:
    scheduler = asha(tmp_path)
    other, worse = (CONTROL.search_plan(point) for point in points(CONTROL.arm.space)[:2])
    reference = CONTROL.search_plan(CONTROL.reference)
    assert (reference.role, other.role, worse.role) == (names.CONTROL, names.SEARCH, names.SEARCH)
    assert report(scheduler, other, 20, 0.4) == GO
    assert report(scheduler, reference, 20, 0.0) == GO, (
        "0.0 is below the cutoff of 0.4, but a reference control is not stopped"
    )
    assert recorded(tmp_path) == [(other.name, 20), (reference.name, 20)]
    assert report(scheduler, worse, 20, 0.1) == STOP, "the cutoff lies between 0.0 and 0.4, at 0.2"


def test_confirmations_are_never_judged(tmp_path: Path) -> None:
    scheduler, (first, second, *_) = asha(tmp_path), plans()
    own = CONTROL.confirmation_plan(CONTROL.search_plan(CONTROL.reference), 1, None)
    report(scheduler, first, 20, 0.5)
    for confirmation in (own, GROUPS[1, "bigram"].confirmation_plan(second, 1, own)):
        assert report(scheduler, confirmation, 20, -9.0) == GO
    assert recorded(tmp_path) == [(first.name, 20)]


@pytest.mark.parametrize("step", [0, 10, 30, 50, 160])
def test_reports_between_rungs_or_at_the_end_are_not_judged_and_fill_no_rung(tmp_path: Path, step: int) -> None:
    scheduler, (first, second, *_) = asha(tmp_path), plans()
    for rung in (20, 40, 80):
        report(scheduler, first, rung, 0.5)
    assert report(scheduler, second, step, -9.0) == GO
    assert len(recorded(tmp_path)) == 3


@pytest.mark.parametrize("gain", [math.nan, math.inf, -math.inf])
def test_gain_that_is_no_number_is_not_recorded(tmp_path: Path, gain: float) -> None:
    report(asha(tmp_path), next(plans()), 20, gain)
    assert recorded(tmp_path) == []


def test_a_restart_changes_no_decision(tmp_path: Path) -> None:
    rng = random.Random(0)
    groups = [list(plans(arm, layers))[:6] for arm in ("bigram", "uniform") for layers in (1, 2)]
    arrivals = [(plan, rung, rng.gauss(0, 1)) for group in groups for plan in group[:5] for rung in (20, 40)]
    rng.shuffle(arrivals)
    (tmp_path / "whole").mkdir()
    straight = asha(tmp_path / "whole")
    expected = [report(straight, *arrival) for arrival in arrivals]
    assert {GO, STOP} == set(expected)
    for cut in range(0, len(arrivals), 3):
        folder = tmp_path / str(cut)
        folder.mkdir()
        first = asha(folder)
        before = [report(first, *arrival) for arrival in arrivals[:cut]]
        second = asha(folder)
        assert before + [report(second, *arrival) for arrival in arrivals[cut:]] == expected
        lost = {arrival[0].name for arrival, decision in zip(arrivals[:cut], before, strict=True) if decision == STOP}
        third = asha(folder)
        assert {plan.name for plan, *_ in arrivals if third.has_stopped(plan.name)} >= lost
        assert all(report(third, *arrival) == STOP for arrival in arrivals[:cut] if arrival[0].name in lost)
