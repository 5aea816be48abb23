"""A schedule, a smoothing, a kind of teacher, a study and a plot that analysis/ does not know.

Pictures, pages and summaries show them; whatever cannot be made is told.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparisons import NONE, drawn, name_arm
from rich.console import Console
from synthetic_run import add_trial, spec, write_run

from analysis import kinds, summary
from analysis.figures.draw import draw
from analysis.kinds import plots
from analysis.plots import arm_plots
from analysis.plots.plot import Line, Panel, Plot, PlotData
from analysis.report import write_report
from analysis.results import Findings, load, read_findings
from analysis.sections.schedule_sections import sections as schedule_sections
from analysis.summary import conclude, rebuild
from analysis.tables.schedule_effects import read_space
from trainable import names
from trainable.record.files import read_json, write_json

CONTROL = {0: 8.0, 60: 6.0, 120: 5.0}
COSINE = {0: 8.0, 60: 6.1, 120: 4.7}
NEW_TEACHER = {"kind": "stubborn", "smoothing": "squared", "rows": "held_out"}


def change_settings(run: Path, trial: str, **changes: str) -> None:
    """Give the teacher of a trial settings that the code does not know."""
    path = run / names.TRIALS_FOLDER / trial / names.TRIAL_FILE
    facts = read_json(path)
    facts["config"]["teacher"] |= changes
    write_json(path, facts)


@pytest.fixture
def search(tmp_path: Path) -> Path:
    """Make a search of an unknown study with six unknown schedules: "cosine", which is the best, and five others."""
    run = write_run(tmp_path / "search", study="my_search", spec=spec(layers=[1], space={"teacher.steps": [20, 60]}))
    for seed in (0, 1, 2):
        add_trial(run, names.CONTROL, CONTROL, seed=seed)
    for seed, role in ((0, names.SEARCH), (1, names.CONFIRM), (2, names.CONFIRM)):
        linear = {"teacher__schedule": "linear", "teacher__steps": 60}
        change_settings(
            run, add_trial(run, role, COSINE, control=CONTROL, seed=seed, **linear), schedule="cosine", **NEW_TEACHER
        )
    for number in range(5):
        losses = {step: loss - 0.01 * number for step, loss in CONTROL.items()}
        state = names.STOPPED if number == 4 else names.FINISHED
        linear = {"teacher__schedule": "linear", "teacher__steps": 20 + number}
        name = add_trial(run, names.SEARCH, losses, control=CONTROL, state=state, **linear)
        change_settings(run, name, schedule=f"new {number}", **NEW_TEACHER)
    return run


@pytest.fixture
def arms(tmp_path: Path) -> Path:
    """Make a comparison of an unknown study: one arm has an unknown schedule, smoothing, kind and choice of rows."""
    table = {"rows": "held_out", "smoothing": "squared", "bigrams": 9, "counted_tokens": 9, "eval_loss": 4.9}
    table |= {"checksum": "2" * 16, "blocks": "3" * 16}
    kept = spec(kind="comparison", arms=["none", "cosine 60"], tuned=None, layers=None)
    run = write_run(tmp_path / "arms", study="my_study", spec=kept, tables={"0": table})
    for seed in (0, 1):
        name_arm(run, add_trial(run, names.CONTROL, NONE, seed=seed), "none")
        linear = {"teacher__schedule": "linear", "teacher__steps": 60}
        guided = add_trial(run, names.ARM, COSINE, control=NONE, seed=seed, **linear)
        name_arm(run, guided, "cosine 60")
        change_settings(run, guided, schedule="cosine", **NEW_TEACHER)
    return run


def labels(data: PlotData) -> set[str]:
    parts = [part for panel in data.panels for part in (*panel.lines, *panel.points)]
    return {part.label for part in parts}


def test_pictures_and_page_of_a_search_show_unknown_schedules(search: Path) -> None:
    assert rebuild(search) == []
    by_name = {plot.name: plot.make(read_findings(search)) for plot in plots(read_findings(search))}
    unknown = {f"new {number}" for number in range(5)}
    assert {*unknown, "cosine"} <= labels(by_name["gain_by_schedule"])
    assert unknown <= labels(by_name["curves"]) and unknown <= labels(by_name["trial_gain"])
    points = by_name["gain_by_schedule"].panels[0].points
    assert sum(group.x.size for group in points if group.values is not None) == 6
    assert len({group.marker for group in points}) == len(points)
    page = drawn(search)
    for title in ("Gain by schedule", "Gain over steps, every trial of the search"):
        assert unknown <= {trace["name"] for trace in page[title][0]["data"]}
    assert "cosine, T = 60, min weight 0: confirmed gain +0.3000" in (search / names.SUMMARY_FILE).read_text()


def test_summary_and_page_of_a_comparison_show_an_unknown_arm(arms: Path) -> None:
    assert rebuild(arms) == []
    assert "cosine 60" in {trace["name"] for trace in drawn(arms)["Validation loss by arm"][0]["data"]}
    text = write_report(arms).read_text(encoding="utf-8")
    assert "Could not be drawn" not in text
    assert "teachers counted only held_out" in text
    assert "Teacher squared, counted on held_out rows" in (arms / names.SUMMARY_FILE).read_text()


def test_the_report_of_schedules_names_unknown_schedules(search: Path) -> None:
    said = schedule_sections(load(search).trials, read_space(search))
    cells = {cell for section in said for table in section.tables for row in table.rows for cell in row}
    assert {"cosine", "new 0"} <= cells


def drift(found: Findings) -> PlotData:
    """Make a new plot with a band and a ring."""
    x = np.array([0.0, 60.0, 120.0])
    line = Line(label="drift", x=x, y=x / 100, low=x / 200, high=x / 50, colour="#123456", ring=60.0)
    return PlotData(title="Drift", note="A plot.", y_title="drift", panels=(Panel(title="all", lines=(line,)),))


def broken(found: Findings) -> PlotData:
    raise KeyError("cosine")


def with_plot(monkeypatch: pytest.MonkeyPatch, kind: str, make: Callable[[Findings], PlotData | None]) -> None:
    """Add a plot to those of a kind of run, as one more line in a module of analysis/plots/ would."""
    more = Plot(name="drift", make=make, has_tail=True)
    before = getattr(kinds, kind)
    monkeypatch.setattr(kinds, kind, replace(before, plots=(*before.plots, more)))


@pytest.mark.parametrize("kind", ["SEARCH", "COMPARISON"])
def test_a_new_plot_is_a_picture_in_the_summary_and_on_the_page(
    search: Path, arms: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with_plot(monkeypatch, kind, drift)
    run = search if kind == "SEARCH" else arms
    assert rebuild(run) == []
    assert {"drift.png", "drift_tail.png"} <= {path.name for path in (run / names.FIGURES_FOLDER).iterdir()}
    assert "![drift.png](figures/drift.png)" in (run / names.SUMMARY_FILE).read_text()
    assert [trace["name"] for trace in drawn(run)["Drift"][0]["data"] if trace["showlegend"]] == ["drift"]
    draw(drift(read_findings(run))).savefig(io.BytesIO())


def test_a_plot_that_fails_is_told_in_one_sentence_and_all_other_files_are_made(
    arms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_plot(monkeypatch, "COMPARISON", broken)
    (sentence,) = rebuild(arms)
    assert sentence.startswith("Could not make drift.png and drift_tail.png (KeyError: 'cosine')")
    assert sentence.endswith(f"python -m analysis.summary {arms}")
    made = {path.name for path in (arms / names.FIGURES_FOLDER).iterdir()}
    assert made == {picture for plot in arm_plots.PLOTS if plot.in_pictures for picture in plot.pictures}
    assert (arms / names.SUMMARY_FILE).is_file() and (arms / names.TRIALS_TABLE).is_file()
    page = write_report(arms).read_text(encoding="utf-8")
    assert "Could not be drawn (KeyError" in page
    assert "Validation loss by arm" in page


@pytest.mark.parametrize("part", ["write", "write_summary", "read_findings", "print_sections"])
def test_a_failure_after_a_run_is_told_in_one_sentence_and_raises_nothing(
    arms: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(summary, part, fail)
    console = Console(file=io.StringIO(), width=10_000)
    conclude(arms, console, "results/my_study/arms")
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    failures = [line for line in said if line.startswith("Could not make")]
    assert len(failures) == 1
    assert "no space left on device" in failures[0]
    assert failures[0].endswith("python -m analysis.summary results/my_study/arms")
