"""Results of a run in a notebook: short tables, the settings that the report names, the plots of the page."""

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.image
import pandas as pd
import pytest
from comparisons import comparison
from pandas.testing import assert_frame_equal
from paths import ROOT, child_environment
from synthetic_groups import CHOSEN, groups_run
from synthetic_run import realistic_run, write_run

from analysis.figures.style import NOTEBOOK_DPI
from analysis.kinds import plots
from analysis.plots.plot import PlotData, tail
from analysis.results import Results, build, load, read_findings
from trainable import names
from trainable.errors import InputError

KEPT = ROOT / "results" / "record"


# --- tables ---


def test_results_unpack_into_two_tables(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run")
    trials, curves = load(run)
    results = load(run)
    assert_frame_equal(trials, results.trials)
    assert_frame_equal(curves, results.curves)
    assert (results.run, results.called) == (run, str(run))


def test_the_text_of_results_has_both_tables_shortened_with_their_sizes_and_losses(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run")
    results = load(run)
    text = repr(results)
    assert text.startswith(f"Results of {run}\n")
    assert f"trials, a row a trial: {len(results.trials)} rows, 8 of {results.trials.shape[1]} columns" in text
    assert f"curves, a row a report: {len(results.curves):,} rows, 6 of {results.curves.shape[1]} columns" in text
    assert len(text.splitlines()) < 30
    first = results.trials.iloc[0]
    (line,) = [line for line in text.splitlines() if line.split()[:2] == [first["trial"], first["role"]]]
    assert f"{first['eval_loss']:.4f}" in line
    assert ".best()" in text and ".plot()" in text


def test_the_html_of_results_has_both_tables_and_escapes_names(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run & <b>more")
    page = load(run)._repr_html_()
    assert page.count("<table") == 2
    assert "run &amp; &lt;b&gt;more" in page
    rows = re.findall(r"<tr", page)
    assert len(rows) <= 10 + 6 + 4, "more than 16 rows, two heads and two lines of dots"


def test_a_run_without_a_trial_can_be_printed(tmp_path: Path) -> None:
    results = load(write_run(tmp_path / "run"))
    assert "trials, a row a trial: 0 rows" in repr(results)
    assert "<table" in results._repr_html_()


def test_published_tables_are_printed_with_the_columns_that_they_have() -> None:
    text = repr(load(ROOT / "results" / "published" / "k_fold"))
    assert "trials, a row a trial: 10 rows" in text
    assert "4.4371" in text


# --- settings ---


def test_best_of_a_search_in_groups_is_the_winner_of_each_group_that_the_report_names(tmp_path: Path) -> None:
    best = load(groups_run(tmp_path / "run", layers=[1, 2])).best()
    assert best[["model.layers", "arm"]].to_numpy().tolist() == [
        [depth, arm] for depth in (1, 2) for arm in ("control", "uniform", "bigram")
    ]
    bigram = best[best["arm"] == "bigram"].iloc[0]
    assert {key: bigram[key] for key in CHOSEN} == CHOSEN
    assert bigram["optimizer.lr"] == 0.003
    report = (KEPT / "content_books" / "summary.md").read_text()
    for row in load(KEPT / "content_books").best().to_dict("records"):
        start = f"| {row['model.layers']} | {row['arm']} | lr {row['optimizer.lr']:g}, "
        loss = f" | {row['eval_loss']:.4f} | "  # the rise follows; then:
        end = f" | {row['gain']:+.4f} | {row['finished']} | {row['stopped']} | {row['others']} |"
        lines = [line for line in report.splitlines() if line.startswith(start) and line.endswith(end)]
        (line,) = [line for line in lines if loss in line]
        assert "warm-up" not in line or f"warm-up {row['optimizer.warmup_steps']}" in line


def test_best_of_an_older_search_is_the_first_trial_of_each_depth_in_its_report() -> None:
    best = load(KEPT / "schedule_search_books").best()
    assert best["rank"].tolist() == [1, 1]
    assert best["model.layers"].tolist() == [1, 2]
    report = (KEPT / "schedule_search_books" / "summary.md").read_text()
    for row in best.to_dict("records"):
        schedule = f"{row['teacher.schedule']} | {row['teacher.steps']} | {row['teacher.min_weight']:g}"
        gains = f"{row['gain']:+.4f} | {row['confirmed_gain']:+.4f}"
        assert f"| {row['model.layers']} | {schedule} | {gains}" in report


def test_best_of_a_comparison_is_each_arm_at_its_tuned_value() -> None:
    best = load(KEPT / "teacher_controls_books").best()
    report = (KEPT / "teacher_controls_books" / "summary.md").read_text()
    assert best["arm"].nunique() == len(best) > 3
    for row in best.to_dict("records"):
        assert f"{row['eval_loss']:.4f} ± {row['eval_loss_sd']:.4f}" in report


# --- plots ---


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return the content of a plot in place of its figure."""
    monkeypatch.setattr("analysis.figures.draw.draw", content)


def content(data: PlotData) -> Any:
    """Return the title, the panels and the lines of a plot in a form that can be compared."""
    panels = [
        (panel.title, [(line.label, line.x.tolist(), line.y.tolist()) for line in panel.lines]) for panel in data.panels
    ]
    return data.title, panels


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kind", ["groups", "search", "comparison"])
def test_every_plot_is_drawn_from_the_data_of_its_picture(tmp_path: Path, kind: str) -> None:
    makers = {"groups": groups_run, "search": realistic_run, "comparison": comparison}
    run = makers[kind](tmp_path / "run")
    found, results = read_findings(run), load(run)
    made = {plot: data for plot in plots(found) if (data := plot.make(found)) is not None}
    assert len(made) >= 3
    for plot, data in made.items():
        assert results.plot(plot.name) == content(data)
        if plot.has_tail:
            assert results.plot(f"{plot.name}_tail") == content(tail(data)) != content(data)


@pytest.mark.usefixtures("undrawn")
def test_plot_without_a_name_draws_the_first_plot_of_the_page(tmp_path: Path) -> None:
    results = load(groups_run(tmp_path / "run"))
    assert results.plot() == results.plot("answer")
    older = load(comparison(tmp_path / "older"))
    assert older.plot() == older.plot("curves")


@pytest.mark.parametrize("name", ["cruves", "gain_by_schedule", "beside_published", "train_loss_tail"])
def test_an_unknown_plot_is_refused_with_the_names_of_the_known_plots(tmp_path: Path, name: str) -> None:
    results = load(groups_run(tmp_path / "run"))
    known = "answer, curves, curves_tail, gain, gain_tail, search, search_tail, train_loss"
    with pytest.raises(InputError, match=f"run has no plot '{name}': choose one of {known}\\.$"):
        results.plot(name)


def test_tables_that_were_not_read_from_a_run_have_no_best_settings_and_no_plots(tmp_path: Path) -> None:
    results = build(realistic_run(tmp_path / "run"))
    assert ".plot()" not in repr(results)
    for ask in (results.best, results.plot, Results(pd.DataFrame(), pd.DataFrame()).plot):
        with pytest.raises(InputError, match="were not read from a run folder: use what load"):
            ask()
    with pytest.raises(InputError, match=f"has no {names.RUN_FILE}"):
        load(ROOT / "results" / "published" / "k_fold").best()


def test_a_figure_is_shown_in_a_notebook_without_a_backend_for_notebooks(tmp_path: Path) -> None:
    figure = load(comparison(tmp_path / "run")).plot()
    shown = matplotlib.image.imread(io.BytesIO(figure._repr_png_()))  # type: ignore[attr-defined]
    assert shown.shape[1] == pytest.approx(figure.get_figwidth() * NOTEBOOK_DPI, abs=1)


def modules_after(code: str, run: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, trainable\n{code}\nprint(*sys.modules)", str(run)],
        capture_output=True,
        text=True,
        check=True,
        env=child_environment(),
    )
    return set(done.stdout.splitlines()[-1].split())


def test_tables_are_read_and_shown_without_matplotlib(tmp_path: Path) -> None:
    found = modules_after("print(trainable.load(sys.argv[1]))", comparison(tmp_path / "run"))
    assert "analysis.notebook" in found
    assert not {"matplotlib", "torch", "ray", "rich", "jinja2"} & found
