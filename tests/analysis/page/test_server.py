"""Server of a run's page: for this machine alone, a live page while the run goes, then the report; read-only."""

import fcntl
import http.client
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from comparisons import comparison
from synthetic_groups import groups_run

from analysis.page import server as module
from analysis.page.html_page import PLOTLY
from analysis.page.server import PageServer, RunPage, address_of, listening
from analysis.report import write_report
from trainable import names
from trainable.errors import InputError
from trainable.record.ledger import append_row, read_reports
from trainable.record.run_files import run_files


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.0)


@contextmanager
def served(run: Path) -> Iterator[int]:
    """Serve the page of a run; yield its port."""
    with PageServer(listening(None), RunPage(run_files(run), str(run))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of a run, as its driver does while it lives."""
    with open(run / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """Send a request; return the answer and its body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_a_live_run_has_a_page_that_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run")
    with locked(run), served(run) as port:
        answer, body = ask(port, "/")
        assert answer.status == 200 and b'id="status" role="status" aria-live="polite"' in body
        assert b"//" not in body and b"default-src 'none'; connect-src 'self'" in body
        assert ask(port, "/plotly.js")[1] == PLOTLY.read_bytes()


def test_an_ended_run_has_its_report_byte_for_byte_and_nothing_is_written(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run")
    (run / names.SUMMARY_FILE).write_text("what was found")
    (run / names.FIGURES_FOLDER).mkdir()
    (run / names.FIGURES_FOLDER / "answer.png").write_bytes(b"a picture")
    before = sorted(run.rglob("*"))
    with served(run) as port:
        _, body = ask(port, "/")
        for name in (names.RUN_FILE, names.SUMMARY_FILE, "figures/answer.png"):
            assert ask(port, f"/{name}")[1] == (run / name).read_bytes()
        assert "bigram-linear-lr0.003-L1-s1-reporting" in ask(port, "/trials")[1].decode().splitlines()
    assert sorted(run.rglob("*")) == before
    assert body == write_report(run).read_bytes()


def test_the_report_is_seen_only_once_all_of_it_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of --watch ends soon after the report was seen, and must not end while the report is being made."""
    run = groups_run(tmp_path / "run")
    making, go_on, write = threading.Event(), threading.Event(), module.page

    def slow_page(*arguments: Any) -> str:
        making.set()
        assert go_on.wait(60)
        return write(*arguments)

    monkeypatch.setattr(module, "page", slow_page)
    shown = RunPage(run_files(run), "run")
    with PageServer(listening(None), shown) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        browser = threading.Thread(target=ask, args=(server.server_port, "/"))
        browser.start()
        assert making.wait(60)
        assert shown.is_busy and not shown.report_seen
        go_on.set()
        browser.join()
        while not shown.report_seen:  # set a moment after the last byte was sent
            time.sleep(0.01)
        server.shutdown()


@pytest.mark.parametrize(
    "path", ["/absent", "/../run.json", "/trials/none-L1-s0/trial.json", "/%2e%2e/secret", "//etc/passwd"]
)
def test_other_paths_and_files_are_not_served(path: str, tmp_path: Path) -> None:
    run = comparison(tmp_path / "run")
    (tmp_path / "secret").write_text("x")
    with served(run) as port:
        answer, body = ask(port, path)
    assert (answer.status, body) == (404, b"There is no such page here: open / instead.\n")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example:8080"])
def test_a_request_with_the_host_name_of_another_site_is_refused(host: str, tmp_path: Path) -> None:
    with served(comparison(tmp_path / "run")) as port:
        assert ask(port, "/state.json", Host=host)[0].status == 403
        for own in (f"localhost:{port}", "127.0.0.1:9000"):  # the second as through an ssh tunnel
            assert ask(port, "/state.json", Host=own)[0].status == 200


def test_post_put_delete_and_patch_are_refused(tmp_path: Path) -> None:
    with served(comparison(tmp_path / "run")) as port:
        assert {ask(port, "/", method)[0].status for method in ("POST", "PUT", "DELETE", "PATCH")} == {501}


def test_the_state_is_sent_again_only_after_it_has_changed(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    with locked(run), served(run) as port:
        answer, body = ask(port, "/state.json")
        tag = answer.headers["ETag"]
        assert sorted(row["loss"] for row in json.loads(body)["trials"]) == [4.8, 5.0]
        again, nothing = ask(port, "/state.json", If_None_Match=tag)
        assert (again.status, nothing) == (304, b"")
        (ledger,) = (run / names.TRIALS_FOLDER).glob(f"linear*/{names.LEDGER_FILE}")
        append_row(ledger, read_reports(ledger)[-1] | {names.STEP: 119, names.EVAL_LOSS: 4.5})
        append_row(ledger, read_reports(ledger)[-1] | {names.STEP: 121, names.EVAL_LOSS: 4.25})
        answer, body = ask(port, "/state.json", If_None_Match=tag)
        assert answer.status == 200
        losses = {row["name"]: row["loss"] for row in json.loads(body)["trials"]}
        assert losses == {"none-L1-s0": 5.0, ledger.parent.name: 4.25}


def test_a_run_that_cannot_be_read_is_told_in_a_sentence_and_the_server_goes_on(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    with served(run) as port:
        assert ask(port, "/")[0].status == 200
        (ledger,) = (run / names.TRIALS_FOLDER).glob(f"linear*/{names.LEDGER_FILE}")
        whole = ledger.read_bytes()
        ledger.write_bytes(whole.replace(b"4.8", b"4.7")[:-1] + b"\n{}\n")
        answer, body = ask(port, "/")
        assert answer.status == 503 and b"metrics.jsonl is damaged (line 3" in body
        ledger.write_bytes(whole)
        assert ask(port, "/")[0].status == 200


def test_the_server_listens_on_this_machine_alone_and_takes_a_later_port_if_one_is_in_use() -> None:
    with listening(None) as first, listening(None) as second:
        assert {one.getsockname()[0] for one in (first, second)} == {"127.0.0.1"}
        assert first.getsockname()[1] < second.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{first.getsockname()[1]}"
        with pytest.raises(InputError, match="another program uses it: give another, or leave it out"):
            listening(first.getsockname()[1])


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(InputError, match=f"--port is {port}: give a port from 1 to 65535"):
        listening(port)


def test_the_server_asks_for_a_lower_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(os, "nice", asked.append)
    module.at_low_priority()
    assert asked == [10]
