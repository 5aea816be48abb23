"""Plots of this project's curves together with those of the published study."""

from pathlib import Path

import pandas as pd
import pytest
from comparisons import comparison, drawn, line, name_arm, page_of
from synthetic_run import add_trial

from analysis.columns import ARM
from analysis.plots import published_plots
from analysis.plots.published_plots import COUNTERPART, repeated
from analysis.results import load
from analysis.tables.arm_lines import MEAN
from analysis.tables.differences import between_controls
from trainable import names


def test_our_curves_lie_over_the_published_ones_as_shares_of_the_run(tmp_path: Path) -> None:
    found = drawn(comparison(tmp_path / "run"))["Beside the published study"]
    assert len(found) == 1
    assert line(found[0], "here: linear 588")["x"] == [0, 0.5, 1]
    published = line(found[0], "published: linear 588")
    assert published["x"][-1] == 1
    assert published["y"][-1] == pytest.approx(4.4458 - 4.5006, abs=1e-3)  # as the published study gives it
    assert published["line"]["color"] == line(found[0], "here: linear 588")["line"]["color"]
    assert "published: linear 240" not in [trace["name"] for trace in found[0]["data"]]  # this run has no such arm
    assert "Model, vocabulary and corpus differ" in page_of(tmp_path / "run")


def test_the_published_exponential_schedule_belongs_to_our_arm_called_as_published() -> None:
    ours = pd.DataFrame({ARM: ["exponential 588", "exponential 588, as published"], "model.layers": 1})
    theirs = pd.DataFrame({ARM: ["exponential 588", "reciprocal 588"], "model.layers": 1})
    assert repeated(theirs, ours)[COUNTERPART].tolist() == ["exponential 588, as published"]


def test_controls_of_several_depths_are_compared_with_the_published_ones(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", study="layer_depth", seeds=1)
    name_arm(run, add_trial(run, names.CONTROL, {0: 8.0, 60: 5.5, 120: 4.7}, model__layers=2), "none")
    assert between_controls(load(run))[MEAN].round(6).tolist() == [0, 0.5, 0.3]
    figure = drawn(run)["Controls beside the published study"][0]
    assert line(figure, "published: 2 layers rather than 1 layer")["y"][-1] == pytest.approx(0.232, abs=1e-3)


def test_a_run_without_published_curves_to_compare_with_has_no_such_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [title for title in drawn(comparison(tmp_path / "a", study="early_stage")) if "published" in title]
    monkeypatch.setattr(published_plots, "PUBLISHED", tmp_path / "nowhere")
    assert not [title for title in drawn(comparison(tmp_path / "b")) if "published" in title]
