"""The HTML report: one page without a network, the words and numbers of the summary, and what its plots show."""

import json
import re
import shutil
import subprocess
import sys
import zlib
from base64 import b64decode
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_run import add_trial, realistic_run, spec, write_run

from analysis.page import published_plots
from analysis.page.html_page import PLOTLY, leak_status, packed_plotly
from analysis.page.plot_groups import groups
from analysis.report import write_report
from analysis.results import ARM, load
from analysis.sections.run_sections import LEAK
from analysis.sections.summary_sections import read_all, sections
from analysis.summary import rebuild
from analysis.tables.arm_lines import MEAN, UNITS
from analysis.tables.counterparts import COUNTERPART, repeated
from analysis.tables.differences import between_controls, gain_lines
from trainable import names
from trainable.errors import InputError
from trainable.files import read_json, write_json

ROOT = Path(__file__).parents[1]
NONE = {0: 8.0, 60: 6.0, 120: 5.0}
LINEAR = {0: 8.0, 60: 6.2, 120: 4.8}


def comparison(run: Path, study: str = "schedule_types", arm: str = "linear 588", seeds: int = 3, **more: Any) -> Path:
    """A comparison at one depth: a control and a guided arm, 0.2 better at the end, 0.2 worse at step 60."""
    table = {"rows": "student", "smoothing": "mle", "bigrams": 9, "counted_tokens": 9, "eval_loss": 4.9}
    kept = spec(kind="comparison", arms=["none", arm], tuned=None, layers=None)
    write_run(run, study=study, spec=kept, tables={"0": table})
    for seed in range(seeds):
        shift = 0.1 * seed
        control, guided = ({s: v + shift for s, v in losses.items()} for losses in (NONE, LINEAR))
        name_arm(run, add_trial(run, names.CONTROL, control, seed=seed, **more), "none")
        linear = {"teacher__schedule": "linear", "teacher__steps": 90}
        name_arm(run, add_trial(run, names.ARM, guided, control=control, seed=seed, **linear | more), arm)
    return run


def name_arm(run: Path, trial: str, arm: str) -> None:
    path = run / names.TRIALS_FOLDER / trial / names.TRIAL_FILE
    write_json(path, read_json(path) | {"arm": arm})


def page_of(run: Path) -> str:
    """The page without plotly.js."""
    return write_report(run).read_text(encoding="utf-8").replace(packed_plotly(), "")


def drawn(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Title of a group -> its figures."""
    return {group.title: [plot.figure for plot in group.plots] for group in groups(read_all(run))}


def line(figure: dict[str, Any], name: str) -> dict[str, Any]:
    found = [trace for trace in figure["data"] if trace["name"] == name and "customdata" in trace]
    assert len(found) == 1
    return found[0]


@pytest.fixture(params=["comparison", "search"])
def any_run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return comparison(tmp_path / "run") if request.param == "comparison" else realistic_run(tmp_path / "run")


def test_the_page_holds_plotly_once_and_asks_the_network_for_nothing(any_run: Path) -> None:
    text = write_report(any_run).read_text(encoding="utf-8")
    (packed,) = re.findall(r'<script type="application/octet-stream" id="plotly">(.*?)</script>', text)
    assert zlib.decompress(b64decode(packed)) == PLOTLY.read_bytes()
    rest = text.replace(packed, "")
    assert "//" not in re.sub(r"<li>.*?</li>", "", rest)
    assert not re.search(r"<(link|img|iframe|script src)|@import|url\(", rest)
    assert "default-src 'none'" in rest
    assert "showSendToCloud: false" in rest  # plotly.js 4 has a button that uploads, unless told


def test_the_page_is_small_enough_to_be_kept_and_the_same_each_time(any_run: Path) -> None:
    first, again = (write_report(any_run).read_bytes() for _ in range(2))
    assert first == again
    assert len(first) < 600_000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_a_browser_unpacks_plotly_and_draws_every_plot(any_run: Path, tmp_path: Path) -> None:
    page, profile = write_report(any_run), tmp_path / "profile"
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    command = ["chromium", *flags.split(), f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--dump-dom"]
    drawn_page = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=True).stdout
    assert "The plots are being unpacked" not in drawn_page
    plots = sum(map(len, drawn(any_run).values()))
    assert drawn_page.count('class="plot js-plotly-plot"') == plots
    assert drawn_page.count('class="scatterlayer mlayer"') == plots


def test_without_a_script_the_page_says_where_the_pictures_are(any_run: Path) -> None:
    assert "If this line stays, JavaScript is off here or the browser is older" in page_of(any_run)


def test_the_page_has_all_that_the_summary_says(any_run: Path) -> None:
    text = unescape(page_of(any_run))
    for section in sections(read_all(any_run)):
        assert f"<h2>{section.title}</h2>" in text
        for said in (*section.lines, *(cell for table in section.tables for row in table.rows for cell in row)):
            assert said in text


def test_the_order_is_question_verdict_setting_tables_plots_leak_and_what_was_not_controlled(any_run: Path) -> None:
    titles = re.findall("<h2>(.*?)</h2>", page_of(any_run))
    assert titles[:3] == ["Question", "Verdict", "Setting"]
    assert titles[-3:] == ["Leak status", "Not controlled", "Where things are"]
    assert titles.index("Cost") < titles.index("Gain over steps")


def test_every_attribute_of_every_figure_is_one_that_the_basic_bundle_knows(any_run: Path) -> None:
    known = set(re.findall(r"\w+", PLOTLY.read_text(encoding="utf-8")))
    found = re.findall(r'<script type="application/json">(.*?)</script>', page_of(any_run))
    assert len(found) == sum(map(len, drawn(any_run).values())) > 1
    for figure in map(json.loads, found):
        assert {trace["type"] for trace in figure["data"]} == {"scatter"}
        figure["layout"].pop("meta", None)  # ours: what the buttons show
        assert set(attributes(figure)) <= known


def attributes(part: Any) -> Iterator[str]:
    """The keys in a figure, at any depth."""
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from attributes(value)
    if isinstance(part, dict):
        yield from part


def test_a_name_cannot_put_tags_or_scripts_into_the_page(tmp_path: Path) -> None:
    nasty = "</script><script>alert(1)</script><img src=x>"
    text = page_of(comparison(tmp_path / "run", arm=nasty))
    assert "alert(1)" in text
    assert "<script>alert" not in text and "<img" not in text
    figure = drawn(tmp_path / "run")["Gain over steps"][0]
    assert all("<" not in trace["name"] for trace in figure["data"])


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


def test_gain_is_over_the_control_of_the_same_seed_which_is_the_line_at_zero(tmp_path: Path) -> None:
    lines = gain_lines(load(comparison(tmp_path / "run"))).set_index([ARM, names.STEP])
    assert lines.loc["linear 588", MEAN].round(6).tolist() == [0, -0.2, 0.2]
    assert (lines.loc["none", MEAN] == 0).all()
    assert (lines[UNITS] == 3).all()


def test_a_guided_trial_without_its_control_has_no_gain(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run")
    shutil.rmtree(run / names.TRIALS_FOLDER / "none-L1-s1")
    lines = gain_lines(load(run))
    assert (lines[UNITS] == 2).all()


def test_where_learning_rates_are_tuned_each_arm_is_at_its_best_and_so_is_its_control(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    worse = {step: loss + 0.5 for step, loss in LINEAR.items()}
    other = {"teacher__schedule": "linear", "teacher__steps": 91, "optimizer__lr": 0.5}
    name_arm(run, add_trial(run, names.ARM, worse, control=NONE, **other), "linear 588")
    ends = gain_lines(load(run)).query("step == 120").set_index("role")
    assert ends[MEAN].round(6).to_dict() == {names.CONTROL: 0, names.ARM: 0.2}


def test_a_search_shows_each_depths_schedules_trials_and_best(tmp_path: Path) -> None:
    found = drawn(realistic_run(tmp_path / "run"))
    assert {len(figures) for figures in found.values()} == {2}
    points = [trace for trace in found["Gain by schedule"][0]["data"] if "coloraxis" in trace["marker"]]
    assert sum(len(trace["x"]) for trace in points) == 8  # of 10, one failed and one runs
    assert sum(s.endswith("-open") for trace in points for s in trace["marker"]["symbol"]) == 3  # stopped by ASHA
    assert "best, on other seeds" in [trace["name"] for trace in found["Gain by schedule"][0]["data"]]
    every = found["Gain over steps, every trial of the search"][0]["data"]
    in_legend = [trace["name"] for trace in every if trace["showlegend"]]
    assert len(in_legend) == len(set(in_legend))


def test_our_curves_lie_over_the_published_ones_as_shares_of_the_run(tmp_path: Path) -> None:
    found = drawn(comparison(tmp_path / "run"))["Beside the published study"]
    assert len(found) == 1
    assert line(found[0], "here: linear 588")["x"] == [0, 0.5, 1]
    published = line(found[0], "published: linear 588")
    assert published["x"][-1] == 1
    assert published["y"][-1] == pytest.approx(4.4458 - 4.5006, abs=1e-3)  # as the study gives it
    assert published["line"]["color"] == line(found[0], "here: linear 588")["line"]["color"]
    assert "published: linear 240" not in [trace["name"] for trace in found[0]["data"]]  # no arm of this run
    assert "Model, vocabulary and corpus differ" in page_of(tmp_path / "run")


def test_the_published_exponential_is_beside_ours_as_published() -> None:
    ours = pd.DataFrame({ARM: ["exponential 588", "exponential 588, as published"], "model.layers": 1})
    theirs = pd.DataFrame({ARM: ["exponential 588", "reciprocal 588"], "model.layers": 1})
    assert repeated(theirs, ours)[COUNTERPART].tolist() == ["exponential 588, as published"]


def test_controls_of_several_depths_are_compared_with_the_published_ones(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", study="layer_depth", seeds=1)
    name_arm(run, add_trial(run, names.CONTROL, {0: 8.0, 60: 5.5, 120: 4.7}, model__layers=2), "none")
    assert between_controls(load(run))[MEAN].round(6).tolist() == [0, 0.5, 0.3]
    figure = drawn(run)["Controls beside the published study"][0]
    assert line(figure, "published: 2 layers rather than 1 layer")["y"][-1] == pytest.approx(0.232, abs=1e-3)


def test_a_study_that_repeats_none_or_whose_published_one_is_absent_has_no_such_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [title for title in drawn(comparison(tmp_path / "a", study="early_stage")) if "published" in title]
    monkeypatch.setattr(published_plots, "PUBLISHED", tmp_path / "nowhere")
    assert not [title for title in drawn(comparison(tmp_path / "b")) if "published" in title]


def test_the_leak_status_is_said_and_a_leak_probe_is_a_warning(tmp_path: Path) -> None:
    clean = comparison(tmp_path / "clean")
    assert leak_status(read_all(clean)).startswith("No leak: teachers counted only the rows that the student trains on")
    assert 'class="warning" role="alert"' not in page_of(clean)
    probe = comparison(tmp_path / "probe", teacher__rows="all")
    assert leak_status(read_all(probe)) == LEAK
    assert 'class="warning" role="alert"' in page_of(probe)


def test_one_leaking_arm_among_others_is_named(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    leak = {"teacher__schedule": "linear", "teacher__steps": 91, "teacher__rows": "all"}
    name_arm(run, add_trial(run, names.ARM, LINEAR, control=NONE, **leak), "linear, all rows")
    record = read_json(run / names.RUN_FILE)
    record["spec"]["arms"].append("linear, all rows")
    write_json(run / names.RUN_FILE, record)
    status = leak_status(read_all(run))
    assert status.startswith("LEAK PROBE in linear, all rows: ")
    assert "The other teachers counted only the rows that the student trains on." in status
    assert 'class="warning" role="alert"' in page_of(run)


def test_a_panel_without_a_guided_arm_has_no_plot_of_gains(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    name_arm(run, add_trial(run, names.CONTROL, NONE, model__layers=2), "none")
    found = drawn(run)
    assert (len(found["Validation loss by arm"]), len(found["Gain over steps"])) == (2, 1)


def test_links_are_relative_to_the_page_and_only_to_what_is_there(tmp_path: Path) -> None:
    run = comparison(tmp_path / "my run")
    assert 'href="run.json"' in page_of(run)
    assert "summary.md</a>" not in page_of(run)
    rebuild(run)
    elsewhere = write_report(run, tmp_path / "pages" / "one.html").read_text(encoding="utf-8")
    assert 'href="../my%20run/summary.md"' in elsewhere
    assert 'href="../my%20run/figures/curves.png"' in elsewhere


@pytest.mark.parametrize("kind", ["comparison", "search"])
def test_a_run_without_trials_has_a_page_that_shows_nothing_yet(tmp_path: Path, kind: str) -> None:
    kept = spec(kind="comparison", arms=["none", "x"], tuned=None, layers=None) if kind == "comparison" else spec()
    assert "Nothing to show yet." in page_of(write_run(tmp_path / "run", spec=kept, tables={}))


def test_a_folder_that_is_not_a_run_is_refused_and_leaves_no_page(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run folder"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_page_and_says_where(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run")
    command = [sys.executable, "-m", "analysis.report", str(run), "--out", str(tmp_path / "page.html")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "page.html")), done.stderr
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
