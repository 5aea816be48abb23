"""Heatmap of the gain over scheduling steps and minimum weight."""

import io
from pathlib import Path

import pytest
from searches import SPACE, guided, search
from synthetic_run import realistic_run

from analysis.figures.gain_heatmap import draw
from analysis.results import load
from analysis.tables.schedule_effects import gain_cells, read_space
from trainable import names


def test_each_depth_and_schedule_has_a_panel_and_each_cell_shows_its_gain(tmp_path: Path) -> None:
    run = search(tmp_path)
    guided(run, 0.25, "linear", 20, 0.0)
    guided(run, 0.05, "linear", 80, 0.2, names.STOPPED)
    linear, step, _bar = draw(gain_cells(load(run).trials), SPACE).axes
    assert [axes.get_title(loc="left") for axes in (linear, step)] == ["1 layer, linear", "1 layer, step"]
    assert {label.get_text(): label.get_position() for label in linear.texts} == {"+.25": (0, 0), "(+.05)": (3, 2)}
    assert not step.texts and not step.patches
    assert [patch.get_hatch() for patch in linear.patches].count("////") == 1


def test_the_best_cell_of_a_depth_is_framed(tmp_path: Path) -> None:
    run = search(tmp_path)
    for gain, steps in ((0.25, 20), (0.3, 40)):
        guided(run, gain, "linear", steps, 0.0)
    guided(run, 0.9, "linear", 60, 0.0, names.STOPPED)
    framed = [patch for patch in draw(gain_cells(load(run).trials), SPACE).axes[0].patches if patch.get_linewidth() > 1]
    assert [patch.get_x() + 0.5 for patch in framed] == [1]


@pytest.mark.parametrize("depths", [1, 3])
def test_runs_of_one_and_of_three_depths_can_be_drawn(tmp_path: Path, depths: int) -> None:
    run = realistic_run(tmp_path / "run", tuple(range(1, depths + 1)), trials_per_depth=16)
    figure = draw(gain_cells(load(run).trials), read_space(run))
    figure.savefig(io.BytesIO())
    (legend,) = figure.legends
    assert legend.get_window_extent().x0 >= 0 and legend.get_window_extent().x1 <= figure.bbox.x1
