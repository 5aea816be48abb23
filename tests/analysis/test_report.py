"""Command analysis.report, which writes or serves the page of a run."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import run_module
from comparisons import comparison
from paths import ROOT
from s3_server import BUCKET, s3_server

from analysis.page import server
from analysis.page.html_page import page as page_of_run
from analysis.page.server import RunPage, listening
from analysis.report import write_report
from analysis.results import read_findings
from trainable import names
from trainable.errors import InputError
from trainable.record.ledger import append_row, read_reports
from trainable.record.run_files import StoredRunFiles


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


def test_a_folder_in_place_of_the_file_of_the_page_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = comparison(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    for folder in (".", str(tmp_path)):
        done = run_module("analysis.report", str(run), "--out", folder)
        assert (done.returncode, done.stderr) == (
            2,
            f"--out {folder} is a folder: name a file in it, such as report.html.\n",
        )


def test_a_port_that_another_program_has_is_refused(tmp_path: Path) -> None:
    with listening(None) as taken:
        port = taken.getsockname()[1]
        done = run_module("analysis.report", str(comparison(tmp_path / "run")), "--serve", "--port", str(port))
    assert (done.returncode, done.stderr) == (
        2,
        f"--port {port} cannot be opened, most often because another program uses it: give another, or leave it out.\n",
    )


def test_the_command_that_serves_a_page_prints_its_address_once_and_ends_with_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def until_ctrl_c(page_server: server.PageServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(server.PageServer, "serve_forever", until_ctrl_c)
    monkeypatch.setattr(server, "at_low_priority", lambda: None)
    run = comparison(tmp_path / "run")
    done = run_module("analysis.report", str(run), "--serve")
    address, _, rest = done.stdout.partition(" shows ")
    assert address.startswith("http://127.0.0.1:") and rest == f"{run}, on this machine alone; Ctrl-C ends it.\n"
    assert (done.returncode, done.stderr) == (0, "")
    assert not (run / "report.html").exists()


def test_the_page_of_a_run_behind_a_uri_shows_new_reports(tmp_path: Path) -> None:
    with s3_server():
        uri = f"s3://{BUCKET}/results/kfold/run"
        files = StoredRunFiles(uri)
        comparison(files.path, seeds=1)
        files.publish()
        page = RunPage(StoredRunFiles(uri), uri)
        assert page.answer("/").body == write_page(uri)
        (ledger,) = (files.path / names.TRIALS_FOLDER).glob(f"linear*/{names.LEDGER_FILE}")
        append_row(ledger, read_reports(ledger)[-1] | {names.STEP: 121, names.EVAL_LOSS: 4.25})
        files.publish()
        assert "4.25" not in page.answer("/state.json").body.decode()  # the store is asked only every 10 s
        page._looked = -1e9
        assert "4.25" in page.answer("/state.json").body.decode()


def write_page(uri: str) -> bytes:
    """Return the page that `python -m analysis.report URI` makes."""
    files = StoredRunFiles(uri)
    files.fetch_records()
    return page_of_run(read_findings(files.path, uri), files.path).encode()
