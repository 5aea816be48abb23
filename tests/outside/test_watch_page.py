"""The page of a run in a real browser: while a sweep of the smallest study runs, the page shows what the ledgers say.

Run these tests where Chromium is installed:

    pytest tests/outside/test_watch_page.py
"""

import asyncio
import fcntl
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live_sweep import SMALL_STUDY, LiveSweep
from synthetic_run import realistic_run

from analysis.page.server import PageServer, RunPage, listening
from analysis.report import write_report
from trainable import names
from trainable.record.ledger import read_reports
from trainable.record.run_files import run_files

pytest.importorskip("aiohttp", reason="needs aiohttp, which ray[default] brings along")
from browser import CHROMIUM, Page, browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

ROWS = "[...document.querySelectorAll('#trials tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
TRACES = (
    "[...document.querySelectorAll('.plot')].flatMap((box) => (box.data ?? []).map((line) => "
    "[line.hovertemplate ?? '', line.y]))"
)

PLOTS = "[...document.querySelectorAll('.plot')]"
FITS = "(box) => Math.abs((box.querySelector('.main-svg')?.clientWidth ?? 0) - box.clientWidth) <= 1"


def address(sweep: LiveSweep) -> str:
    """Wait until the driver has printed the address of the page, and return the address."""
    sweep.wait_for(lambda: "Watch: http" in sweep.printed, "the address of the page")
    found = re.search(r"Watch: (http://\S+)", sweep.printed)
    assert found is not None
    return found[1]


def as_shown(rows: list[dict[str, Any]], is_control: bool, steps: int) -> set[tuple[str, ...]]:
    """Values that the page may show for a trial: those of any report, because newer reports may have come meanwhile."""
    return {
        (
            f"{row[names.STEP]} of {steps}",
            f"{row[names.EVAL_LOSS]:.4f}",
            "-" if is_control else f"{row[names.GAIN]:+.4f}",
            f"{row[names.TEACHER_WEIGHT]:.3f}",
            "-" if row[names.TOKENS_PER_SECOND] is None else f"{row[names.TOKENS_PER_SECOND]:,.0f}",
        )
        for row in rows
    }


async def in_thread(work: Callable[[], Any]) -> Any:
    """Run blocking work in a thread, so that the browser goes on meanwhile."""
    return await asyncio.to_thread(work)


async def watch(sweep: LiveSweep, page: Page) -> None:
    """Check the page while the run goes, kill a worker, and wait until the page turns into the report by itself."""
    await page.open(await in_thread(lambda: address(sweep)))
    await page.until(
        "[...document.querySelectorAll('#trials td:nth-child(2)')].some((cell) => cell.textContent === 'running')"
    )
    await page.value("window.stays = true")
    first = {row[0]: row for row in await page.value(ROWS)}
    await page.until(f"JSON.stringify({ROWS}) !== {json.dumps(json.dumps(list(first.values())))}")
    await page.until("document.querySelectorAll('.plot .scatterlayer path').length > 0")
    shown, traces = await page.value(ROWS), await page.value(TRACES)
    assert await page.value("window.stays")  # the page was not loaded again
    compared, drawn = 0, 0
    for name, _, *values in shown:
        folder = sweep.run / names.TRIALS_FOLDER / name
        rows = read_reports(folder / names.LEDGER_FILE)
        facts = json.loads((folder / names.TRIAL_FILE).read_text())
        possible = as_shown(rows, facts["role"] == names.CONTROL, facts["config"]["loop"]["steps"])
        assert not rows or tuple(values) in possible or values[0].startswith("0 of"), (name, values, possible)
        compared += tuple(values) in possible
    for told, losses in traces:
        if (name := told.partition("<br>")[0]) and (sweep.run / names.TRIALS_FOLDER / name).is_dir():
            rows = read_reports(sweep.run / names.TRIALS_FOLDER / name / names.LEDGER_FILE)
            curves = [[float(f"{row[value]:.6g}") for row in rows] for value in (names.EVAL_LOSS, names.GAIN)]
            assert losses in [curve[: len(losses)] for curve in curves], name
            drawn += len(losses) > 0
    assert compared and drawn, "no trial on the page had a value or a line to compare with its ledger"
    assert "trials have ended" in await page.value("document.getElementById('status').textContent")
    killed = await in_thread(lambda: sweep.wait_for_trial(names.ARM))
    await in_thread(lambda: sweep.kill_worker(killed))
    await page.until(f"document.getElementById('restarts').textContent.includes({json.dumps(killed)})")
    assert "its worker was killed" in await page.value("document.getElementById('restarts').textContent")
    await page.until("document.querySelector('h2')?.textContent === 'Verdict' && document.readyState === 'complete'")
    assert not [event for event in page.events if event["method"] == "Runtime.exceptionThrown"]


def asked_elsewhere(page: Page) -> list[str]:
    """Addresses outside this machine that the browser asked for."""
    asked = [
        event["params"]["request"]["url"] for event in page.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked
    return [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))]


def test_the_page_shows_what_the_ledgers_say_while_a_sweep_runs_and_then_its_report(tmp_path: Path) -> None:
    async def look(sweep: LiveSweep) -> None:
        async with browser(tmp_path) as page:
            await watch(sweep, page)
            assert asked_elsewhere(page) == []
            shown = await page.document()
        assert await in_thread(sweep.end) == 0
        assert shown == write_report(sweep.run).read_text(encoding="utf-8")

    with LiveSweep(SMALL_STUDY, tmp_path / "sweep", "--arms", "8", "--watch") as sweep:
        asyncio.run(look(sweep))


def test_the_page_can_be_used_narrow_dark_and_with_a_keyboard(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run")
    trials = len(list((run / names.TRIALS_FOLDER).iterdir()))

    async def look(where: str) -> None:
        async with browser(tmp_path) as page:
            await page.look(1200, 900)
            await page.open(where)
            await page.until("document.querySelectorAll('.plot .scatterlayer path').length > 0")
            await page.until(f"{PLOTS}.length === 8 && {PLOTS}.every({FITS})")
            await page.look(390, 844, dark=True)
            await page.until(f"{PLOTS}.every({FITS})")
            assert await page.value("document.documentElement.scrollWidth") == 390
            light_on_dark = "getComputedStyle(document.body)"
            assert await page.value(f"{light_on_dark}.backgroundColor") == "rgb(25, 25, 25)"
            assert await page.value(f"{light_on_dark}.color") == "rgb(222, 220, 214)"
            reached = []
            for _ in range(5):
                await page.press("Tab")
                reached.append(await page.value("document.activeElement.id || document.activeElement.ariaLabel"))
            assert reached[:3] == ["arm", "more", "Trials"]
            few = await page.value("document.querySelectorAll('#trials tbody tr').length")
            await page.value("document.getElementById('more').focus()")
            await page.press("Enter")
            assert await page.value("document.querySelectorAll('#trials tbody tr').length") == trials > few
            assert await page.value("document.getElementById('more').ariaExpanded") == "true"

    with open(run / ".lock", "w") as lock, PageServer(listening(None), RunPage(run_files(run), "run")) as server:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            asyncio.run(look(f"http://127.0.0.1:{server.server_port}/"))
        finally:
            server.shutdown()
            thread.join()
