"""A report counts trials against the plan, and compares an arm with its control over the same units."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from comparisons import comparison, name_arm, plan_all
from synthetic_run import add_trial, realistic_run, spec, write_run

from analysis.kinds import sections
from analysis.plots import arm_plots
from analysis.plots.plot import Line, Plot
from analysis.results import read_findings
from analysis.sections.document import markdown
from trainable import names
from trainable.record.files import read_json, write_json

CONTROL = [5.0, 5.1, 5.2, 5.3, 5.4]
FOLDS = {"corpus__folds": 5, "corpus__eval_rows": 50, "corpus__train_rows": 200}


def summary(run: Path) -> str:
    return markdown("report", sections(read_findings(run)), [])


def rows(text: str, arm: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if re.match(rf"\| all \| {arm} \|", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def set_state(run: Path, trial: str, state: str) -> None:
    write_json(run / names.TRIALS_FOLDER / trial / names.STATUS_FILE, {"state": state, "reason": "killed"})


def folds(run: Path, gains: dict[str, list[float]]) -> Path:
    """Make a comparison over five folds: a control with a different loss in each fold, and arms with these gains."""
    base = spec()["base"] | {"corpus": spec()["base"]["corpus"] | {"folds": 5}}
    write_run(
        run, study="kfold", spec=spec(kind="comparison", arms=["none", *gains], tuned=None, layers=None, base=base)
    )
    for fold, loss in enumerate(CONTROL):
        own: dict[str, Any] = {"seed": fold, "corpus__fold": fold, **FOLDS}
        losses = {0: 8.0, 120: loss}
        name_arm(run, add_trial(run, names.CONTROL, losses, **own), "none")
        for number, (arm, gain) in enumerate(gains.items()):
            linear = {"teacher__schedule": "linear", "teacher__steps": 60 + number}
            guided = {0: 8.0, 120: loss - gain[fold]}
            name_arm(run, add_trial(run, names.ARM, guided, control=losses, **own, **linear), arm)
    plan_all(run)
    return run


def number(cell: str) -> float:
    return float(cell.split()[0])


@pytest.mark.parametrize("lost", ["failed", "gone", "its control failed", "its control is gone"])
def test_with_one_of_five_folds_lost_control_and_arm_are_means_over_the_four_pairs(tmp_path: Path, lost: str) -> None:
    run = folds(tmp_path / "run", {"linear 240": [0.01, 0.02, 0.03, 0.04, 0.5]})
    trial = "none-L1-s4" if "control" in lost else "linear-T60-min0-L1-s4"
    if "failed" in lost:
        set_state(run, trial, names.FAILED)
    else:
        shutil.rmtree(run / names.TRIALS_FOLDER / trial)
    text = summary(run)
    (control,), (arm,) = rows(text, "none"), rows(text, "linear 240")
    assert (control[2], arm[2]) == ("4 of 5", "4 of 5")
    assert number(control[3]) - number(arm[3]) == pytest.approx(number(arm[4]), abs=1e-9) == 0.025
    assert "over 4 of 5 units" in text
    assert "corrected t over 4 of 5 folds" in text
    said = {"failed": "1 failed, 0 not ended.", "gone": "0 failed, 0 not ended, 1 of 10 planned trials missing."}
    assert said[lost.split()[-1]] in text


def test_arms_with_different_units_each_have_their_own_row_of_the_control(tmp_path: Path) -> None:
    run = folds(tmp_path / "run", {"linear 240": [0.1] * 5, "step 588": [0.2] * 5})
    set_state(run, "linear-T60-min0-L1-s4", names.FAILED)
    text = summary(run)
    assert [row[2] for row in rows(text, "none")] == ["4 of 5", "5"]
    for control, arm in zip(rows(text, "none"), [*rows(text, "linear 240"), *rows(text, "step 588")], strict=True):
        assert control[2] == arm[2]
        assert number(control[3]) - number(arm[3]) == pytest.approx(number(arm[4]), abs=1e-9)
    assert "corrected t over 4 of 5 or 5 folds" in text


def test_an_arm_without_a_single_pair_is_named(tmp_path: Path) -> None:
    run = folds(tmp_path / "run", {"linear 240": [0.1] * 5, "step 588": [0.2] * 5})
    for fold in range(5):
        shutil.rmtree(run / names.TRIALS_FOLDER / f"linear-T61-min0-L1-s{fold}")
    assert "- step 588: none of its 5 planned trials has finished beside its control." in summary(run)


def test_folders_that_are_gone_are_counted_against_the_plan(tmp_path: Path) -> None:
    run = folds(tmp_path / "run", {"linear 240": [0.1] * 5})
    gone = sorted((run / names.TRIALS_FOLDER).iterdir())[:6]
    for folder in gone:
        shutil.rmtree(folder)
    text = summary(run)
    assert "0 failed, 0 not ended, 6 of 10 planned trials missing." in text
    assert f"Missing (not begun yet, or their folders are gone): {', '.join(f.name for f in gone)}." in text
    write_json(run / names.RUN_FILE, read_json(run / names.RUN_FILE) | {"complete": True})
    assert "Missing (never begun, or their folders are gone): " in summary(run)


@pytest.mark.parametrize("lost", ["*-s4", "none-L1-s4", "linear-T60-min0-L1-s4"])
def test_pictures_count_units_against_the_plan_as_tables_do(tmp_path: Path, lost: str) -> None:
    run = folds(tmp_path / "run", {"linear 240": [0.1] * 5, "step 588": [0.2] * 5})
    whole = [line.legend for plot in arm_plots.PLOTS for line in lines_of(plot, run)]
    assert not any(" of 5 units" in legend for legend in whole)
    for folder in (run / names.TRIALS_FOLDER).glob(lost):
        shutil.rmtree(folder)
    for plot in (arm_plots.LOSS, arm_plots.TRAINING_LOSS):
        assert all("4 of 5 units" in line.legend for line in lines_of(plot, run))
    assert len(whole) == sum(len(lines_of(plot, run)) for plot in arm_plots.PLOTS)


def lines_of(plot: Plot, run: Path) -> list[Line]:
    data = plot.make(read_findings(run))
    assert data is not None
    return [line for panel in data.panels for line in panel.lines]


def test_a_whole_comparison_says_nothing_of_the_plan(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run")
    plan_all(run)
    text = summary(run)
    assert " of 3 " not in text and "missing" not in text.lower()
    assert "0 failed, 0 not ended.\n" in text


def test_a_search_is_counted_against_its_plan(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run", layers=(1,))
    assert "missing" not in summary(run)
    trials = run / names.TRIALS_FOLDER
    searched = [f for f in sorted(trials.glob("*-s0")) if not f.name.startswith("none")][:4]
    confirmed = next(f for f in trials.glob("*-s3") if not f.name.startswith("none"))
    for folder in (*searched, confirmed, trials / "none-L1-s2"):
        shutil.rmtree(folder)
    text = summary(run)
    assert "6 of 17 planned trials missing." in text
    assert "1 layer: 1 of 4 controls, 1 layer: 4 of 10 search trials, 1 layer: 1 of 3 confirmations." in text
    assert "of 6 search trials (10 planned)." in text
    assert "(2 of 3) |" in text
