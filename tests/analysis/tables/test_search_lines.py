"""What a search's pictures show."""

import pytest
from synthetic_run import realistic_run

from analysis.results import Results, load
from analysis.tables.search_lines import best_points, curve_lines, gain_points, tail
from trainable import names


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return load(realistic_run(tmp_path_factory.mktemp("figures") / "run"))


def test_the_curves_show_the_search_and_its_controls_but_no_confirmation(results: Results) -> None:
    shown = set(curve_lines(results)["trial"])
    assert all(name.endswith("-s0") for name in shown)
    assert {"none-L1-s0", "none-L2-s0"} <= shown


def test_one_best_line_a_depth_is_highlighted(results: Results) -> None:
    lines = curve_lines(results)
    highlighted = lines[lines["kind"] == "best"].groupby("model.layers")["trial"].unique()
    assert [list(names_) for names_ in highlighted] == [[name] for name in best_points(results.trials)["trial"]]


def test_the_tail_is_the_last_forty_percent_of_the_steps(results: Results) -> None:
    assert sorted(set(tail(curve_lines(results))["step"])) == [80, 100, 120]


def test_gain_points_are_finished_and_stopped_search_trials(results: Results) -> None:
    points = gain_points(results.trials)
    assert set(points["state"]) == {names.FINISHED, names.STOPPED}
    assert set(points["seed"]) == {0}
