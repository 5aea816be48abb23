"""Pictures of plots: runs of many shapes can be drawn, and the legend explains each mark."""

import io
from pathlib import Path

import numpy as np
import pytest
from arm_trials import study, trial_rows, two_arms
from comparisons import comparison
from matplotlib import rc_context
from matplotlib.figure import Figure
from synthetic_run import add_trial, realistic_run, write_run

from analysis.figures.draw import draw
from analysis.figures.style import save
from analysis.kinds import plots
from analysis.plots.arm_plots import loss_by_arm
from analysis.plots.looks import BEST_COLOUR
from analysis.plots.plot import PlotData, tail
from analysis.plots.search_plots import gain_by_schedule, trial_loss
from analysis.results import Findings, read_findings
from analysis.summary import rebuild
from trainable import names

CONTROL = {0: 8.0, 60: 6.0, 120: 5.0}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return read_findings(realistic_run(tmp_path_factory.mktemp("figures") / "run"))


def panels(figure: Figure) -> list:
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]


def legend_of(data: PlotData) -> list[str]:
    return [text.get_text() for legend in draw(data).legends for text in legend.get_texts()]


@pytest.mark.parametrize("depths", [1, 4, 6])
def test_every_depth_gets_a_panel_and_the_legend_fits_below_them(tmp_path: Path, depths: int) -> None:
    found = read_findings(realistic_run(tmp_path / "run", tuple(range(1, depths + 1)), trials_per_depth=16))
    for data in (trial_loss(found), gain_by_schedule(found)):
        figure = draw(data)
        figure.savefig(io.BytesIO())
        assert len(panels(figure)) == depths
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
        assert box.y1 <= min(axes.get_window_extent().y0 for axes in panels(figure))


@pytest.mark.parametrize("arms", [1, 6, 14])
def test_a_long_legend_takes_no_room_from_the_panels(arms: int) -> None:
    trials = [trial_rows(f"exponential {n}, as published", 0, n / 9) for n in range(arms)]
    figure = draw(loss_by_arm(study(*trials), ()))
    figure.savefig(io.BytesIO())
    (legend,), (axes,) = figure.legends, panels(figure)
    assert legend.get_window_extent().y1 <= axes.get_window_extent().y0
    assert axes.get_window_extent().height > 1.5 * figure.dpi


@pytest.mark.parametrize("kind", ["search", "comparison"])
def test_the_figures_folder_of_a_run_holds_its_pictures_as_png_and_no_other_file(tmp_path: Path, kind: str) -> None:
    run = realistic_run(tmp_path / "run", layers=(1,)) if kind == "search" else comparison(tmp_path / "run")
    assert rebuild(run) == []
    third = "gain_by_schedule.png" if kind == "search" else "train_loss.png"
    paths = list((run / names.FIGURES_FOLDER).iterdir())
    assert sorted(path.name for path in paths) == sorted(["curves.png", "curves_tail.png", third])
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_a_run_without_trials_and_one_with_controls_alone_can_be_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for _ in range(2):
        found = read_findings(run)
        drawn = [data for plot in plots(found) if (data := plot.make(found)) is not None]
        assert "Validation loss, every trial of the search" in [data.title for data in drawn]
        for data in drawn:
            picture = io.BytesIO()
            draw(data).savefig(picture)
            assert picture.getvalue().startswith(b"\x89PNG")
        add_trial(run, names.CONTROL, CONTROL)


def test_the_end_of_the_best_teacher_is_a_dashed_line_that_the_legend_names(found: Findings) -> None:
    data = trial_loss(found)
    for axes, panel in zip(panels(draw(data)), data.panels, strict=True):
        dashed = [line for line in axes.lines if line.get_linestyle() == "--" and line.get_color() == BEST_COLOUR]
        assert [set(line.get_xdata()) for line in dashed] == [{panel.best_ends}]
    assert "teacher at its minimum weight" in legend_of(data)


def test_the_legend_names_marks_only_where_they_are_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    add_trial(run, names.CONTROL, CONTROL)
    add_trial(run, names.SEARCH, CONTROL, control=CONTROL, teacher__schedule="step", teacher__steps=60)
    data = trial_loss(read_findings(run))
    for shown, drawn in ((data, True), (tail(data), False)):
        assert ("teacher at its minimum weight" in legend_of(shown)) == drawn
    arms = loss_by_arm(two_arms(), ())
    for shown, drawn in ((arms, True), (tail(arms), False)):
        assert ("teacher ends here" in legend_of(shown)) == drawn
        assert "band: lowest to highest unit" in legend_of(shown)


def test_a_ring_is_drawn_where_a_teacher_ends() -> None:
    (axes,) = panels(draw(loss_by_arm(two_arms(), ())))
    rings = [mark for mark in axes.lines if mark.get_marker() == "o"]
    assert [float(np.ravel(ring.get_xdata())[0]) for ring in rings] == [60.0]


def test_stopped_trials_are_hollow_and_finished_ones_are_not(found: Findings) -> None:
    data = gain_by_schedule(found)
    markers = [line for line in panels(draw(data))[0].lines if line.get_marker() in ("o", "s", "^", "D")]
    shown = [points for points in data.panels[0].points if points.hollow is not None]
    assert len(markers) == sum(points.x.size for points in shown)
    hollow = sum(line.get_markerfacecolor() == "white" for line in markers)
    assert hollow == sum(int(points.hollow.sum()) for points in shown) > 0


def test_axes_are_labelled_with_units(found: Findings) -> None:
    for data in (trial_loss(found), gain_by_schedule(found)):
        axes = panels(draw(data))[0]
        assert "nats per token" in axes.get_ylabel()
        assert "steps" in axes.get_xlabel()


def test_a_dollar_sign_in_a_name_is_not_read_as_a_formula_whatever_the_users_settings(tmp_path: Path) -> None:
    name = "$a_1$ costs $5, 50 % & more \\x"
    with rc_context({"text.parse_math": True, "text.usetex": True}):
        figure = draw(loss_by_arm(study(trial_rows(name, 0, 0.5)), ()))
        save(figure, tmp_path / "curves.png")
    labels = [text for legend in figure.legends for text in legend.get_texts()]
    assert [text for text in labels if text.get_text().startswith(name)]
    assert not any(text.get_parse_math() or text.get_usetex() for text in labels)
