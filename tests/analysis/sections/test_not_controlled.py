"""Report on learning rates that the run did not tune."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from comparisons import LINEAR, NONE, name_arm
from synthetic_run import add_trial, spec, write_run

from analysis.results import Results, read_findings
from analysis.sections.run_sections import not_controlled
from trainable import names


def lines_of(run: Path, rates: dict[str, list[float]]) -> str:
    """Return the section for a comparison whose control and guided arm ran once at each of their rates."""
    write_run(run, study="content_long", spec=spec(kind="comparison", arms=[*rates], tuned=None, layers=None))
    for arm, values in rates.items():
        for seed, rate in enumerate(values):
            guided: dict[str, Any] = {"teacher__schedule": "linear", "teacher__steps": 90} if arm != "none" else {}
            role, losses = (names.ARM, LINEAR) if guided else (names.CONTROL, NONE)
            control = {"control": NONE} if guided else {}
            name_arm(run, add_trial(run, role, losses, seed=seed, optimizer__lr=rate, **control, **guided), arm)
    return "\n".join(not_controlled(read_findings(run)).lines)


def test_one_rate_for_all_arms_is_said_to_be_tuned_for_none(tmp_path: Path) -> None:
    text = lines_of(tmp_path / "run", {"none": [0.001], "linear": [0.001]})
    assert "Learning rate 0.001 for all arms: tuned for none." in text


def test_rates_that_were_set_for_each_arm_before_the_run_are_named(tmp_path: Path) -> None:
    text = lines_of(tmp_path / "run", {"none": [0.002], "linear": [0.004]})
    assert "Each arm's learning rate was set before this run, which tuned none: none 0.002, linear 0.004." in text
    assert "for all arms" not in text


def test_rates_that_the_run_varied_are_not_mentioned(tmp_path: Path) -> None:
    assert "earning rate" not in lines_of(tmp_path / "run", {"none": [0.002, 0.004], "linear": [0.002]})


def test_an_old_search_without_arms_has_its_one_rate_named(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    add_trial(tmp_path / "run", names.CONTROL, NONE, optimizer__lr=0.001)
    found = read_findings(tmp_path / "run")
    without_arms = Results(found.results.trials.drop(columns="arm"), found.results.curves)
    assert "Learning rate 0.001 for all arms" in "\n".join(not_controlled(replace(found, results=without_arms)).lines)
