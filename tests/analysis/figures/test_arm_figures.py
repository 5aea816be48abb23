"""Pictures of arms: panels, rings, the legend, and that every shape of run can be drawn."""

import io
from pathlib import Path

import pytest
from arm_trials import study, trial_rows, two_arms
from matplotlib.figure import Figure
from synthetic_run import realistic_run, write_run

from analysis.figures.arm_figures import FIGURES, draw, draw_all
from analysis.results import load
from analysis.tables.arm_lines import arm_lines, tail
from trainable import names


def panels(figure: Figure) -> list:
    return [axes for axes in figure.axes if axes.get_visible()]


def test_there_is_a_panel_a_depth_and_budget() -> None:
    settings = [{"model.layers": layers, "loop.steps": steps} for layers in (1, 2) for steps in (120, 240)]
    figure = draw(arm_lines(study(*(trial_rows("none", 0, 0.0, **one) for one in settings)), names.EVAL_LOSS), "loss")
    assert [axes.get_title(loc="left") for axes in panels(figure)] == [
        *("1 layer, 120 steps", "1 layer, 240 steps"),
        *("2 layers, 120 steps", "2 layers, 240 steps"),
    ]


def test_other_validation_rows_are_another_panel_and_never_one_mean() -> None:
    sizes = [trial_rows("none", 0, 0.0, **{"corpus.eval_rows": rows}) for rows in (50.0, 250.0)]
    lines = arm_lines(study(*sizes), names.EVAL_LOSS)
    assert set(lines["units"]) == {1}
    assert [axes.get_title(loc="left") for axes in panels(draw(lines, "loss"))] == [
        *("1 layer, 50 validation rows", "1 layer, 250 validation rows"),
    ]


def test_a_ring_is_drawn_where_a_teacher_ends_and_nowhere_else() -> None:
    lines = arm_lines(two_arms(), names.EVAL_LOSS)
    for shown, drawn in ((lines, [60.0]), (tail(lines), [])):
        rings = [mark for mark in panels(draw(shown, "loss"))[0].lines if mark.get_marker() == "o"]
        assert [float(ring.get_xdata()[0]) for ring in rings] == drawn


@pytest.mark.parametrize("arms", [1, 6, 14])
def test_the_legend_lies_inside_the_figure_and_below_the_panels(arms: int) -> None:
    trials = [trial_rows(f"exponential {n}, as published", 0, n / 9) for n in range(arms)]
    figure = draw(arm_lines(study(*trials), names.EVAL_LOSS), "loss")
    figure.savefig(io.BytesIO())
    (legend,), (axes,) = figure.legends, panels(figure)
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
    assert box.y1 <= axes.get_window_extent().y0
    assert axes.get_window_extent().height > 1.5 * figure.dpi


def test_a_comparison_has_three_figures_and_a_search_keeps_its_own_beside_them(tmp_path: Path) -> None:
    paths = draw_all(tmp_path / "comparison", two_arms())
    assert [path.name for path in paths] == list(FIGURES)
    run = realistic_run(tmp_path / "run", layers=(1,))
    assert [path.name for path in draw_all(run, load(run))] == [f"best_{name}" for name in FIGURES]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_a_run_without_reports_can_be_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert all(path.is_file() for path in draw_all(run, load(run)))
