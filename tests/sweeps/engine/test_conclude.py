"""The end of a run: a report that fails does not change the exit status."""

import io
import time
from pathlib import Path

import pytest
from comparisons import comparison
from rich.console import Console

from analysis import summary
from sweeps.engine.folder import RunFolder
from sweeps.engine.run import conclude
from trainable import names


@pytest.mark.parametrize("broken", ["save_plot", "write", "write_summary", "print_sections", "write_page"])
def test_a_report_that_fails_prints_a_sentence_and_the_exit_status_is_that_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("cosine")

    monkeypatch.setattr(summary, broken, fail)
    folder = RunFolder.open(comparison(tmp_path / "run"))
    printed = io.StringIO()
    console = Console(file=printed, width=10_000)
    assert conclude(folder, complete=True, started=time.time(), console=console, resume="the same command") == 0
    sentences = [line for line in printed.getvalue().splitlines() if line.startswith("Could not make")]
    assert sentences
    assert all("KeyError: 'cosine'" in line and "python -m analysis." in line for line in sentences)
    assert folder.record().complete
    assert "Traceback" not in printed.getvalue()
    assert (folder.path / names.RUN_FILE).is_file()
