"""Pictures of a search: that every shape of run can be drawn, and what is marked."""

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_run import add_trial, realistic_run, write_run

from analysis.figures.search_figures import FIGURES, draw_all, draw_curves, draw_gains
from analysis.figures.style import BEST_COLOUR
from analysis.results import Results, load
from analysis.tables.search_lines import best_points, curve_lines, gain_points, tail
from trainable import names

CONTROL = {0: 8.0, 60: 6.0, 120: 5.0}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return load(realistic_run(tmp_path_factory.mktemp("figures") / "run"))


def assert_is_png(path: Path) -> None:
    assert path.read_bytes().startswith(b"\x89PNG")


def panels(figure: Figure) -> list:
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]


@pytest.mark.parametrize("depths", [1, 4, 6])
def test_every_depth_gets_a_panel(tmp_path: Path, depths: int) -> None:
    results = load(realistic_run(tmp_path / "run", layers=tuple(range(1, depths + 1))))
    marks = best_points(results.trials)
    for figure in (draw_curves(curve_lines(results), marks), draw_gains(gain_points(results.trials), marks)):
        assert len(panels(figure)) == depths


def test_all_figures_are_written_as_png_and_nothing_else_is(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run", layers=(1,))
    paths = draw_all(run, load(run))
    assert sorted(path.name for path in (run / names.FIGURES_FOLDER).iterdir()) == sorted(FIGURES)
    for path in paths:
        assert_is_png(path)


def test_a_run_without_trials_can_be_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for path in draw_all(run, load(run)):
        assert_is_png(path)


def test_a_run_with_controls_alone_can_be_drawn_and_shows_them(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    add_trial(run, names.CONTROL, CONTROL)
    draw_all(run, load(run))
    assert set(curve_lines(load(run))["kind"]) == {"control"}


def test_losses_that_are_not_finite_are_left_out_and_the_rest_is_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    add_trial(run, names.CONTROL, CONTROL)
    broken = {0: 8.0, 60: np.nan, 120: np.inf}
    name = add_trial(run, names.SEARCH, broken, control=CONTROL, teacher__schedule="step", teacher__steps=60)
    draw_all(run, load(run))
    lines = curve_lines(load(run))
    assert list(lines.loc[lines["trial"] == name, "step"]) == [0]
    assert gain_points(load(run).trials).empty


def test_the_moment_the_best_teacher_ends_is_marked(results: Results) -> None:
    marks = best_points(results.trials)
    figure = draw_curves(curve_lines(results), marks)
    for axes, steps in zip(panels(figure), marks["teacher.steps"], strict=True):
        dotted = [line for line in axes.lines if line.get_linestyle() == "--" and line.get_color() == BEST_COLOUR]
        assert [set(line.get_xdata()) for line in dotted] == [{steps}]


def test_the_legend_names_the_end_of_the_teacher_only_where_it_is_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    add_trial(run, names.CONTROL, CONTROL)
    add_trial(run, names.SEARCH, CONTROL, control=CONTROL, teacher__schedule="step", teacher__steps=60)
    lines, marks = curve_lines(load(run)), best_points(load(run).trials)
    for shown, drawn in ((lines, True), (tail(lines), False)):
        (legend,) = draw_curves(shown, marks).legends
        assert ("its teacher is at the floor" in [text.get_text() for text in legend.get_texts()]) == drawn


def test_stopped_trials_are_hollow_and_finished_ones_are_not(results: Results) -> None:
    points = gain_points(results.trials)
    axes = panels(draw_gains(points, best_points(results.trials)))[0]
    markers = [line for line in axes.lines if line.get_marker() in ("o", "s", "^", "D")]
    hollow = [line for line in markers if line.get_markerfacecolor() == "white"]
    here = points[points["model.layers"] == 1]
    assert len(markers) == len(here)
    assert len(hollow) == (here["state"] == names.STOPPED).sum()


@pytest.mark.parametrize("depths", [1, 2, 3])
def test_the_legend_fits_into_the_figure(tmp_path: Path, depths: int) -> None:
    results = load(realistic_run(tmp_path / "run", tuple(range(1, depths + 1)), trials_per_depth=16))
    marks = best_points(results.trials)
    for figure in (draw_curves(curve_lines(results), marks), draw_gains(gain_points(results.trials), marks)):
        figure.savefig(io.BytesIO())
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= min(axes.get_window_extent().y0 for axes in panels(figure))


@pytest.mark.parametrize("kind", ["curves", "gains"])
def test_axes_are_labelled_with_units(results: Results, kind: str) -> None:
    marks = best_points(results.trials)
    curves, gains = draw_curves(curve_lines(results), marks), draw_gains(gain_points(results.trials), marks)
    axes = panels(curves if kind == "curves" else gains)[0]
    assert "nats per token" in axes.get_ylabel()
    assert "steps" in axes.get_xlabel()
