"""Plots in the form of plotly.js: lines, bands, rings, points and axis titles on the page."""

from pathlib import Path

from comparisons import NONE, comparison, drawn, line, name_arm
from synthetic_run import add_trial, realistic_run

from analysis.page.plotly import page_figures
from analysis.plots.plot import Panel, PlotData
from trainable import names


def test_a_line_is_the_mean_over_units_and_its_band_from_the_lowest_to_the_highest(tmp_path: Path) -> None:
    figure = drawn(comparison(tmp_path / "run"))["Validation loss by arm"][0]
    assert line(figure, "linear 588")["y"] == [8.1, 6.3, 4.9]
    assert line(figure, "control")["customdata"][-1] == [5.0, 5.2, 3]
    band = next(trace for trace in figure["data"] if trace.get("fill") == "toself")
    assert (band["x"], band["y"]) == ([0, 60, 120, 120, 60, 0], [8.2, 6.2, 5.2, 5.0, 6.0, 8.0])


def test_a_ring_stands_where_the_teacher_ends(tmp_path: Path) -> None:
    figure = drawn(comparison(tmp_path / "run"))["Validation loss by arm"][0]
    rings = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    assert [(ring["x"], ring["y"]) for ring in rings] == [([90.0], [5.6])]


def test_a_search_shows_the_schedules_trials_and_best_trial_of_each_depth(tmp_path: Path) -> None:
    found = drawn(realistic_run(tmp_path / "run"))
    assert {len(figures) for figures in found.values()} == {2}
    points = [trace for trace in found["Gain by schedule"][0]["data"] if "coloraxis" in trace["marker"]]
    assert sum(len(trace["x"]) for trace in points) == 8  # 10 trials less one that failed and one that is running
    assert sum(s.endswith("-open") for trace in points for s in trace["marker"]["symbol"]) == 3  # stopped by ASHA
    assert "best, on other seeds" in [trace["name"] for trace in found["Gain by schedule"][0]["data"]]
    every = found["Gain over steps, every trial of the search"][0]["data"]
    in_legend = [trace["name"] for trace in every if trace["showlegend"]]
    assert len(in_legend) == len(set(in_legend))


def test_a_panel_without_a_guided_arm_has_no_plot_of_gains(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    name_arm(run, add_trial(run, names.CONTROL, NONE, model__layers=2), "none")
    found = drawn(run)
    assert (len(found["Validation loss by arm"]), len(found["Gain over steps"])) == (2, 1)


def test_tags_in_axis_titles_are_escaped() -> None:
    data = PlotData(title="", note="", x_title="<b>x</b>", y_title="a < b", panels=(Panel(title=""),))
    layout = page_figures(data)[0].figure["layout"]
    assert layout["xaxis"]["title"]["text"] == "&lt;b&gt;x&lt;/b&gt;"
    assert layout["yaxis"]["title"]["text"].startswith("a &lt; b (")
