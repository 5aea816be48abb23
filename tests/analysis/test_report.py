"""The command that writes the page."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import run_module
from comparisons import comparison
from paths import ROOT

from analysis.report import write_report
from trainable.errors import InputError


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


def test_a_folder_as_the_page_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = comparison(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    for folder in (".", str(tmp_path)):
        done = run_module("analysis.report", str(run), "--out", folder)
        assert (done.returncode, done.stderr) == (
            2,
            f"--out {folder} is a folder: name a file in it, such as report.html.\n",
        )
