"""Serve the page of a run while its driver lives: the process that `--watch` starts (sweeps/engine/watch.py).

    python -m analysis.page.watched RUN DESCRIPTOR

DESCRIPTOR is of a socket that listens already. Standard input is a pipe that the driver holds: it ends with the driver,
however that ends. Then the process waits a little, so that an open page can fetch the report, and ends.
"""

import socket
import sys
import threading
import time
from typing import Final

from analysis.page.server import PageServer, RunPage, at_low_priority
from trainable.record.run_files import run_files

AFTER_SECONDS: Final = 20.0  # how long the page stays after its driver, unless a browser has fetched the report
SOON_SECONDS: Final = 2.0  # for what the report asks for next


def main(run: str, descriptor: int) -> None:
    """Serve until some seconds after the driver's end."""
    at_low_priority()
    page = RunPage(run_files(run), run)
    with PageServer(socket.socket(fileno=descriptor), page) as server:
        threading.Thread(target=_end_after_driver, args=(server, page), daemon=True).start()
        server.serve_forever()


def _end_after_driver(server: PageServer, page: RunPage) -> None:
    sys.stdin.buffer.read()
    page.report_seen = False
    deadline = time.monotonic() + AFTER_SECONDS
    while not page.report_seen and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(SOON_SECONDS)
    server.shutdown()


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except Exception as ended:  # however it fails: the run is not of this process
        sys.exit(f"The page to watch has ended ({type(ended).__name__}: {ended}); the run goes on without it.")
