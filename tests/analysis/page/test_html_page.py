"""HTML page of a run: no network access, size, the content of the summary, leak status, links, escaped names."""

import json
import re
import shutil
import subprocess
import zlib
from base64 import b64decode
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from comparisons import LINEAR, NONE, comparison, drawn, name_arm, page_of
from synthetic_groups import groups_run
from synthetic_run import add_trial, realistic_run, spec, write_run

from analysis.kinds import sections
from analysis.page.html_page import PLOTLY
from analysis.report import write_report
from analysis.results import read_findings
from analysis.sections.run_sections import LEAK, leak_status
from analysis.summary import rebuild
from trainable import names
from trainable.record.files import read_json, write_json


@pytest.fixture(params=[comparison, realistic_run, groups_run], ids=["comparison", "search", "groups"])
def any_run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made: Path = request.param(tmp_path / "run")
    return made


def test_the_page_holds_plotly_once_and_asks_the_network_for_nothing(any_run: Path) -> None:
    text = write_report(any_run).read_text(encoding="utf-8")
    (packed,) = re.findall(r'<script type="application/octet-stream" id="plotly">(.*?)</script>', text)
    assert zlib.decompress(b64decode(packed)) == PLOTLY.read_bytes()
    rest = text.replace(packed, "")
    assert "//" not in re.sub(r"<li>.*?</li>", "", rest)
    assert not re.search(r"<(link|img|iframe|script src)|@import|url\(", rest)
    assert "default-src 'none'" in rest
    assert "showSendToCloud: false" in rest  # else plotly.js 4 shows a button that uploads


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


def test_the_page_says_why_plots_are_missing_without_javascript(any_run: Path) -> None:
    assert "If this line stays, JavaScript is off or the browser is older" in page_of(any_run)


def test_the_page_has_all_that_the_summary_says(any_run: Path) -> None:
    text = unescape(page_of(any_run))
    for section in sections(read_findings(any_run)):
        assert f"<h2>{section.title}</h2>" in text
        for line in (*section.lines, *(cell for table in section.tables for row in table.rows for cell in row)):
            assert line in text


def test_sections_are_in_the_order_verdict_question_setting_tables_plots_leak_not_controlled(any_run: Path) -> None:
    titles = [title for title in re.findall("<h2>(.*?)</h2>", page_of(any_run)) if title != "The answer"]
    assert titles[:3] == ["Verdict", "Question", "Setting"]
    assert titles[-3:] == ["Leak status", "Not controlled", "Where things are"]
    assert titles.index("Cost") < titles.index("Gain over steps")


def test_the_page_of_a_search_in_groups_opens_with_the_verdict_and_one_picture(tmp_path: Path) -> None:
    titles = re.findall("<h2>(.*?)</h2>", page_of(groups_run(tmp_path / "run", layers=[1, 2])))
    assert titles[:2] == ["Verdict", "The answer"]
    assert titles.count("The answer") == 1


def test_every_attribute_of_every_figure_is_one_that_the_basic_bundle_knows(any_run: Path) -> None:
    known = set(re.findall(r"\w+", PLOTLY.read_text(encoding="utf-8")))
    found = re.findall(r'<script type="application/json">(.*?)</script>', page_of(any_run))
    assert len(found) == sum(map(len, drawn(any_run).values())) > 1
    for figure in map(json.loads, found):
        assert {trace["type"] for trace in figure["data"]} == {"scatter"}
        figure["layout"].pop("meta", None)  # a key of this project, for the buttons
        assert set(attributes(figure)) <= known


def attributes(part: Any) -> Iterator[str]:
    """Yield the keys in a figure, at any depth."""
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


def test_the_page_tells_the_leak_status_and_warns_of_a_leak_probe(tmp_path: Path) -> None:
    clean = comparison(tmp_path / "clean")
    assert said(clean).startswith("No leak: teachers counted only the rows that the student trains on")
    assert 'class="warning" role="alert"' not in page_of(clean)
    probe = comparison(tmp_path / "probe", teacher__rows="all")
    assert said(probe) == LEAK
    assert 'class="warning" role="alert"' in page_of(probe)


def said(run: Path) -> str:
    (sentence,) = leak_status(read_findings(run)).lines
    return sentence


def test_one_leaking_arm_among_others_is_named(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    leak = {"teacher__schedule": "linear", "teacher__steps": 91, "teacher__rows": "all"}
    name_arm(run, add_trial(run, names.ARM, LINEAR, control=NONE, **leak), "linear, all rows")
    record = read_json(run / names.RUN_FILE)
    record["spec"]["arms"].append("linear, all rows")
    write_json(run / names.RUN_FILE, record)
    status = said(run)
    assert status.startswith("LEAK PROBE in linear, all rows: ")
    assert "The other teachers counted only the rows that the student trains on." in status
    assert 'class="warning" role="alert"' in page_of(run)


def test_links_are_relative_to_the_page_and_lead_only_to_existing_files(tmp_path: Path) -> None:
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
