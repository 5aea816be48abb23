"""Trials that a run was planned to have, without those that cannot run because their control failed."""

import shutil
from pathlib import Path

from comparisons import comparison, plan_all
from synthetic_run import add_trial, realistic_run, spec, write_run

from analysis.results import read_findings
from analysis.tables.planned import Lack, missing_trials, planned_by_role, planned_trials, search_lacks
from trainable import names


def test_the_plan_of_a_comparison_is_a_table_with_settings(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=2)
    plan_all(run)
    table = planned_trials(read_findings(run).record).set_index("trial")
    assert table["role"].to_dict() == {
        "linear-T90-min0-L1-s0": names.ARM,
        "linear-T90-min0-L1-s1": names.ARM,
        "none-L1-s0": names.CONTROL,
        "none-L1-s1": names.CONTROL,
    }
    assert table.loc["linear-T90-min0-L1-s1", ["arm", "control", "seed", "teacher.steps"]].tolist() == [
        "linear 588",
        "none-L1-s1",
        1,
        90,
    ]


def test_trials_whose_control_failed_are_not_missing(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=2)
    plan_all(run)
    for seed in (0, 1):
        shutil.rmtree(run / names.TRIALS_FOLDER / f"linear-T90-min0-L1-s{seed}")
    add_trial(run, names.CONTROL, {0: 8.0}, state=names.FAILED, seed=1)
    assert missing_trials(read_findings(run)) == ["linear-T90-min0-L1-s0"]


def test_a_whole_search_lacks_nothing(tmp_path: Path) -> None:
    found = read_findings(realistic_run(tmp_path / "run"))
    assert search_lacks(found) == []
    assert planned_by_role(found) == {names.CONTROL: 8, names.SEARCH: 20, names.CONFIRM: 6}


def test_a_search_whose_control_failed_has_no_trials_left_to_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", spec=spec(layers=[1], confirm_seeds=[]))
    add_trial(run, names.CONTROL, {0: 7.0}, state=names.FAILED)
    assert search_lacks(read_findings(run)) == []


def test_a_search_that_has_just_begun_lacks_most(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", spec=spec(layers=[1]))
    add_trial(run, names.CONTROL, {0: 7.0}, state=names.RUNNING)
    found = read_findings(run)
    assert search_lacks(found) == [Lack(1, names.CONTROL, 4, 3), Lack(1, names.SEARCH, 10, 10)]


def test_a_run_whose_record_has_no_plan_lacks_nothing(tmp_path: Path) -> None:
    """A record without a plan, such as the oldest ones, gives no missing trials and no planned numbers."""
    found = read_findings(comparison(tmp_path / "run"))
    assert missing_trials(found) == [] and planned_by_role(found) == {}
