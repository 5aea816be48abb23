"""Plots of a search as data: which trials are shown, and what is marked."""

from pathlib import Path

import numpy as np
import pytest
from synthetic_run import add_trial, realistic_run, write_run

from analysis.plots.plot import tail
from analysis.plots.search_plots import gain_by_schedule, trial_gain, trial_loss
from analysis.results import Findings, read_findings
from analysis.tables.best import best
from trainable import names

CONTROL = {0: 8.0, 60: 6.0, 120: 5.0}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return read_findings(realistic_run(tmp_path_factory.mktemp("figures") / "run"))


def test_the_curves_show_the_search_and_its_controls_but_no_confirmation(found: Findings) -> None:
    shown = {line.trial for panel in trial_loss(found).panels for line in panel.lines}
    assert all(name.endswith("-s0") for name in shown)
    assert {"none-L1-s0", "none-L2-s0"} <= shown


def test_the_best_line_of_each_depth_is_in_front_and_the_end_of_its_teacher_is_marked(found: Findings) -> None:
    panels, winners = trial_loss(found).panels, best(found.results.trials, top=1)
    front = [max(panel.lines, key=lambda line: line.front).trial for panel in panels]
    assert front == winners["trial"].tolist()
    assert [panel.best_ends for panel in panels] == winners["teacher.steps"].tolist()


def test_the_tail_is_the_last_forty_percent_of_the_steps(found: Findings) -> None:
    late = tail(trial_loss(found))
    assert {float(step) for panel in late.panels for line in panel.lines for step in line.x} == {80, 100, 120}


def test_points_are_finished_and_stopped_search_trials_and_the_stopped_are_hollow(found: Findings) -> None:
    trials = found.results.trials
    ended = trials[(trials["role"] == names.SEARCH) & trials["state"].isin([names.FINISHED, names.STOPPED])]
    points = [p for panel in gain_by_schedule(found).panels for p in panel.points if p.hollow is not None]
    assert sum(p.x.size for p in points) == len(ended)
    assert sum(int(p.hollow.sum()) for p in points if p.hollow is not None) == (ended["state"] == names.STOPPED).sum()


def test_losses_that_are_not_finite_are_left_out_and_the_rest_is_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    add_trial(run, names.CONTROL, CONTROL)
    broken = {0: 8.0, 60: np.nan, 120: np.inf}
    name = add_trial(run, names.SEARCH, broken, control=CONTROL, teacher__schedule="step", teacher__steps=60)
    found = read_findings(run)
    (line,) = (line for line in trial_loss(found).panels[0].lines if line.trial == name)
    assert list(line.x) == [0]
    assert gain_by_schedule(found).panels == ()


def test_a_run_with_controls_alone_shows_them(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    add_trial(run, names.CONTROL, CONTROL)
    found = read_findings(run)
    assert [line.label for line in trial_loss(found).panels[0].lines] == ["control"]
    assert trial_gain(found).panels == ()
