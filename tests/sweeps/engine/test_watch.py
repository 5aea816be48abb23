"""The option --watch: a page in another process that ends after the run; an error of the page ends no run."""

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from analysis.page import watched as page_process
from analysis.page.server import RunPage
from sweeps.engine import watch
from sweeps.engine.watch import watched
from trainable.errors import InputError
from trainable.record.run_files import run_files


def printed(console: Console) -> str:
    """Text that the console has printed."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


class Process:
    """Stand-in for a process, which is never started: it keeps the command and options, and has a pipe."""

    def __init__(self, command: list[str], **options: Any):
        self.command, self.options, self.stdin = command, options, io.BytesIO()
        processes.append(self)


processes: list[Process] = []


def test_the_address_is_printed_once_and_the_page_has_its_own_session_and_a_pipe_that_the_driver_closes(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in a terminal reaches only the driver's session, and the pipe of a killed driver is closed as well."""
    monkeypatch.setattr(watch.subprocess, "Popen", Process)
    with watched(run_files(tmp_path / "run"), console):
        process = processes.pop()
        assert not process.stdin.closed
    assert process.stdin.closed
    assert process.command[1:5] == ["-P", "-m", "analysis.page.watched", str(tmp_path / "run")]
    assert process.options["start_new_session"] and process.options["pass_fds"] == [int(process.command[5])]
    said = re.fullmatch(r"Watch: http://127\.0\.0\.1:\d+ \(on this machine alone\)\n", printed(console))
    assert said is not None


@pytest.mark.parametrize(("fetched_after", "ends_after"), [(5, 7.1), (100, 102.1), (None, 22.1)])
def test_the_page_ends_after_its_driver_once_a_browser_has_the_report_or_after_some_seconds(
    fetched_after: int | None, ends_after: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = RunPage(run_files(tmp_path / "run"), "run")
    server, now = SimpleNamespace(ends=[], shutdown=lambda: server.ends.append(now[0])), [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        page.report_seen = page.report_seen or (fetched_after is not None and now[0] > fetched_after)

    making = fetched_after is not None  # the report of a large run on a slow machine takes many seconds
    monkeypatch.setattr(RunPage, "is_busy", property(lambda page: making and now[0] > 3))
    monkeypatch.setattr(page_process.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(page_process.time, "sleep", sleep)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO()))
    page_process._end_after_driver(server, page)  # type: ignore[arg-type]
    assert server.ends == [pytest.approx(ends_after, abs=0.11)]


@pytest.mark.parametrize(
    ("where", "error", "said"),
    [
        ("listening", InputError("ports 8080 to 8099 are all in use: give --port PORT."), "are all in use"),
        ("subprocess.Popen", OSError(12, "Cannot allocate memory"), "Cannot allocate memory"),
    ],
)
def test_a_page_that_cannot_be_served_is_reported_in_a_sentence_and_the_run_goes_on(
    where: str, error: Exception, said: str, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(f"sweeps.engine.watch.{where}", fail)
    went_on = False
    with watched(run_files(tmp_path / "run"), console):
        went_on = True
    assert went_on
    assert printed(console).startswith("The page to watch cannot be served (") and said in printed(console)
    assert printed(console).endswith("the run goes on without it.\n")


def test_an_error_of_the_run_is_raised_unchanged(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_started", lambda *_: None)
    with pytest.raises(InputError, match="no room"), watched(run_files(tmp_path / "run"), console):
        raise InputError("no room")
