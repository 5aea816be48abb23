"""Trials and time left in a live run, by group, against the report's plan and times worked out by hand."""

from pathlib import Path

import pytest
from comparisons import comparison, plan_all
from synthetic_groups import groups_run
from synthetic_run import add_trial, spec, write_run

from analysis.page.live_plan import plans_of, time_left
from analysis.page.live_state import LiveRun
from analysis.results import read_findings
from analysis.tables.planned import planned_by_role
from trainable import names
from trainable.record.files import read_json, write_json
from trainable.record.run_files import run_files


def live(run: Path) -> LiveRun:
    found = LiveRun(run_files(run), "run")
    found.refresh()
    return found


def test_a_search_in_groups_has_as_many_trials_planned_as_its_report_says(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run", layers=[1, 2])
    groups = live(run).state()["groups"]
    planned = planned_by_role(read_findings(run))
    assert sum(group["planned"] for group in groups) == sum(planned.values()) == 2 * 3 * (6 + 3)
    assert [(group["part"], group["arm"]) for group in groups[:3]] == [
        ("search", "control"),
        ("search", "uniform"),
        ("search", "bigram"),
    ]
    (bigram,) = [
        group for group in groups if group["arm"] == "bigram" and group["layers"] == 2 and group["part"] != "search"
    ]
    assert (bigram["planned"], bigram["ended"], bigram["left"], bigram["stopped"]) == (3, 3, 0, 0)


def test_a_comparison_counts_the_trials_of_its_plan_without_those_whose_control_failed(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=2)
    plan_all(run)
    for folder in (run / names.TRIALS_FOLDER).glob("linear*-s1"):
        for file in folder.iterdir():
            file.unlink()
    assert live(run).state()["counts"] == {"planned": 4, "ended": 3, "running": 0, "left": 1}
    write_json(run / names.TRIALS_FOLDER / "none-L1-s1" / names.STATUS_FILE, {"state": names.FAILED, "reason": "x"})
    assert live(run).state()["counts"] == {"planned": 3, "ended": 3, "running": 0, "left": 0}


def test_the_best_of_a_group_is_the_finished_trial_with_the_lowest_loss(tmp_path: Path) -> None:
    groups = live(comparison(tmp_path / "run")).state()["groups"]
    (group,) = [group for group in groups if group["arm"] != "none"]
    assert (group["best"], group["best_loss"]) == ("linear-T90-min0-L1-s0", 4.8)


def timed_run(tmp_path: Path, planned: int, begun: int, every: int) -> LiveRun:
    """Make a comparison that plans `planned` controls, a seed each; the first `begun` have finished their 120 steps."""
    plans = []
    write_run(tmp_path / "plan", spec=spec(kind="comparison", arms=["none"], tuned=None, layers=None))
    for seed in range(planned):
        name = add_trial(tmp_path / "plan", names.CONTROL, {0: 8.0}, seed=seed)
        plans.append(read_json(tmp_path / "plan" / names.TRIALS_FOLDER / name / names.TRIAL_FILE))
    run = tmp_path / "run"
    write_run(run, spec=spec(kind="comparison", arms=["none"], tuned=None, layers=None, plans=plans))
    for number in range(begun):
        add_trial(run, names.CONTROL, dict.fromkeys(range(0, 121, every), 5.0), seed=number)
    return live(run)


def set_times(found: LiveRun, number: int, start: float, seconds: float) -> None:
    """Let a trial begin at `start` and train for `seconds`; its evaluations take no time."""
    for row in found.trials[number].reports:
        done = row[names.STEP] / 120 * seconds
        row |= {names.TRAIN_SECONDS: done, names.EVAL_SECONDS: 0.0, names.TIMESTAMP: 1e9 + start + done}


def seconds_left(found: LiveRun) -> float | None:
    assert found.record is not None
    return time_left(plans_of(found.record, found.trials), found.trials)


@pytest.mark.parametrize(("slots", "seconds"), [(1, 3 * 100.0), (2, 150.0)])
def test_the_time_left_is_the_steps_left_at_the_pace_so_far(tmp_path: Path, slots: int, seconds: float) -> None:
    """The three trials left of five, 100 s each, take 300 s one at a time and 150 s two at a time."""
    found = timed_run(tmp_path, planned=5, begun=2, every=20)
    for number in range(2):
        set_times(found, number, number * 100.0 if slots == 1 else 0.0, 100.0)
    assert seconds_left(found) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("every", "a_trial"),
    [(10, 3600.0), (20, (36_000 + 36_000 + 3600) / 3)],
    ids=["twelve reports in the last hour", "only six reports: pace of the whole run"],
)
def test_the_time_left_follows_the_last_hour_and_not_a_slower_beginning(
    tmp_path: Path, every: int, a_trial: float
) -> None:
    """After trials of 10, 10 and 1 hours, each trial left is estimated at 1 hour, or with few reports at their mean."""
    found = timed_run(tmp_path, planned=6, begun=3, every=every)
    for number, (start, seconds) in enumerate([(0.0, 36_000.0), (36_000.0, 36_000.0), (72_000.0, 3600.0)]):
        set_times(found, number, start, seconds)
    assert seconds_left(found) == pytest.approx(3 * a_trial)


def test_before_a_step_is_reported_no_end_is_estimated(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ended="absent")
    add_trial(run, names.CONTROL, {0: 8.0}, state=names.RUNNING)
    assert live(run).state()["ends"] is None
