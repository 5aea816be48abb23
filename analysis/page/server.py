"""Serve the page of a run on 127.0.0.1: a live page during the run, the report afterwards. The run is only read.

    /            the live page, or the report (the bytes of `python -m analysis.report RUN`)
    /state.json  the state (analysis.page.live_state); status 304 where it has not changed
    /plots.json  the curves
    /plotly.js   the library that draws the curves
    /<file>      the files of the run that the report links to

The run is read only when a page asks, only its new parts, and at most once a second for all pages together. Other sites
in the same browser cannot read the answers, because a request must name this machine as its host.
"""

import hashlib
import json
import mimetypes
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.page.html_page import PLOTLY, links, page
from analysis.page.live_plots import live_plots
from analysis.page.live_state import LiveRun
from analysis.results import read_findings
from trainable.errors import InputError, first_line
from trainable.record.run_files import RunFiles, StoredRunFiles
from trainable.record.store import StoreError

HOST: Final = "127.0.0.1"
FIRST_PORT: Final = 8080
PORTS_TRIED: Final = 20
LOW_PRIORITY: Final = 10  # niceness: lower priority than the trials, high enough that pages are answered
REFRESH_SECONDS: Final = 1.0  # between two reads of a run's files
STORE_SECONDS: Final = 10.0  # between two reads of a run behind a URI, which costs requests
TEMPLATE: Final = "live.html.jinja"


def listening(port: int | None) -> socket.socket:
    """A socket that listens only on this machine: on `port`, or on the first free port from 8080 on.

    Raises InputError where the port is out of range or in use.
    """
    if port is not None and not 1 <= port <= 65535:
        raise InputError(f"--port is {port}: give a port from 1 to 65535.")
    for tried in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        with suppress(OSError):
            return socket.create_server((HOST, tried))
    if port is not None:
        raise InputError(
            f"--port {port} cannot be opened, most often because another program uses it: give another, or leave it "
            "out."
        )
    raise InputError(f"ports {FIRST_PORT} to {FIRST_PORT + PORTS_TRIED - 1} are all in use: give --port PORT.")


def address_of(listener: socket.socket) -> str:
    """The address of the page, for a browser on this machine."""
    return f"http://{HOST}:{listener.getsockname()[1]}"


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    body: bytes
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    is_report: bool = False

    @property
    def tag(self) -> str:
        """ETag of the body: a browser that has this body is not sent it again."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


class RunPage:
    """The answers for one run, given to one thread at a time."""

    def __init__(self, files: RunFiles, called: str):
        """called: name of the run in texts for users."""
        self._files = files
        self._live = LiveRun(files, called)
        self._looked = -1e9  # when the run's files were last looked at
        self._made: dict[str, Answer] = {}  # cleared when the run has something new
        self._lock = threading.Lock()
        self.report_seen = False  # whether a browser was given the whole report

    @property
    def is_busy(self) -> bool:
        """Whether an answer is being made; the report of a large run takes many seconds."""
        return self._lock.locked()

    def answer(self, path: str) -> Answer:
        """The answer to a path; where a file cannot be read, a sentence with status 503."""
        with self._lock:
            try:
                self._refresh()
                return self._answer(path)
            except (InputError, StoreError) as error:
                said = self._files.shown(first_line(error))
            except OSError as error:
                said = f"{self._files.shown(error.filename or path)} cannot be read ({error.strerror})"
        return Answer(f"{said}.\n".encode(), "text/plain; charset=utf-8", 503)

    def _refresh(self) -> None:
        pause = STORE_SECONDS if isinstance(self._files, StoredRunFiles) else REFRESH_SECONDS
        if time.monotonic() - self._looked < pause:
            return
        if self._live.refresh():
            self._made.clear()
        self._looked = time.monotonic()

    def _answer(self, path: str) -> Answer:
        if path == "/":
            return self._kept(path, self._report if self._live.phase == "over" else live_page)
        if path == "/state.json":
            return self._kept(path, lambda: _json(self._live.state()))
        if path == "/plots.json":
            return self._kept(path, lambda: _json(live_plots(self._live)))
        if path == "/plotly.js":
            return Answer(PLOTLY.read_bytes(), "text/javascript; charset=utf-8")
        run = self._files.path
        names = [name for name, _ in links(run, run)] if self._live.record is not None else []
        if (name := unquote(path).removeprefix("/")) in names:
            file = self._files.fetched(name)
            if file.is_dir():
                listed = "\n".join(sorted(inside.name for inside in file.iterdir()))
                return Answer(f"{listed}\n".encode(), "text/plain; charset=utf-8")
            return Answer(file.read_bytes(), _kind(file))
        return Answer(b"There is no such page here: open / instead.\n", "text/plain; charset=utf-8", 404)

    def _kept(self, path: str, make: Callable[[], Answer]) -> Answer:
        if path not in self._made:
            self._made[path] = make()
        return self._made[path]

    def _report(self) -> Answer:
        """The report of an ended run, the same bytes as from the command; nothing is written."""
        run = self._files.path
        return Answer(page(read_findings(run, self._live.called), run).encode(), is_report=True)


def live_page() -> Answer:
    """The live page, which requests the state of the run itself."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return Answer(environment.get_template(TEMPLATE).render().encode())


class PageServer(ThreadingHTTPServer):
    """The server of one run's page."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, page: RunPage):
        """listener: a socket from `listening`, closed with the server."""
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.page = listener, page
        self.server_name, self.server_port = listener.getsockname()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a browser that closed its connection; print any other error in one line."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"The page could not answer ({type(error).__name__}: {error}).", file=sys.stderr)


def serve(listener: socket.socket, files: RunFiles, called: str) -> None:
    """Serve the page of a run until Ctrl-C, at low priority."""
    with PageServer(listener, RunPage(files, called)) as server:
        at_low_priority()
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def at_low_priority() -> None:
    """Lower the priority of this process."""
    with suppress(OSError):
        os.nice(LOW_PRIORITY)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds that a connection may be idle

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0]  # the port differs in a tunnel (ssh -L)
        if host not in (HOST, "localhost"):
            self._send(Answer(b"This page answers to this machine alone.\n", "text/plain; charset=utf-8", 403))
            return
        self._send(self.server.page.answer(urlsplit(self.path).path))

    do_HEAD = do_GET

    def _send(self, answer: Answer) -> None:
        is_known = answer.status == 200 and self.headers.get("If-None-Match") == answer.tag
        self.send_response(304 if is_known else answer.status)
        self.send_header("ETag", answer.tag)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        if not is_known:
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if not is_known and self.command == "GET":
            self.wfile.write(answer.body)
        self.server.page.report_seen |= answer.is_report and self.command == "GET"

    def log_message(self, *_: object) -> None:
        """Print nothing for a request."""


def _json(value: object) -> Answer:
    return Answer(json.dumps(value, allow_nan=False).encode(), "application/json")


def _kind(file: Path) -> str:
    if file.suffix in (".md", ".jsonl"):
        return "text/plain; charset=utf-8"
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"
