"""Serve the page of a run as long as its driver lives. `--watch` starts this process (sweeps/engine/watch.py).

    python -m analysis.page.watched RUN DESCRIPTOR

DESCRIPTOR: file descriptor of a socket that already listens. Standard input is a pipe that the driver holds, so it ends
when the driver ends, even if killed. The process then waits a little, so that an open page can fetch the report, and
ends.
"""

import socket
import sys
import threading
import time
from typing import Final

from analysis.page.server import PageServer, RunPage, at_low_priority
from trainable.record.run_files import run_files

AFTER_SECONDS: Final = 20.0  # time in which an open page may ask for the report after the driver's end
SOON_SECONDS: Final = 2.0  # time for the requests that follow the report


def main(run: str, descriptor: int) -> None:
    """Serve until some seconds after the end of the driver."""
    at_low_priority()
    page = RunPage(run_files(run), run)
    with PageServer(socket.socket(fileno=descriptor), page) as server:
        threading.Thread(target=_end_after_driver, args=(server, page), daemon=True).start()
        server.serve_forever()


def _end_after_driver(server: PageServer, page: RunPage) -> None:
    sys.stdin.buffer.read()
    page.report_seen = False
    deadline = time.monotonic() + AFTER_SECONDS
    while not page.report_seen and (page.is_busy or time.monotonic() < deadline):
        time.sleep(0.1)
    time.sleep(SOON_SECONDS)
    server.shutdown()


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except Exception as ended:  # whatever fails here: the run is in another process
        sys.exit(f"The page to watch has ended ({type(ended).__name__}: {ended}); the run goes on without it.")
