"""`--watch`: serve a page that shows the run while it goes, from a separate process that cannot disturb the run.

The process only reads the run folder, at low priority, and only while a browser shows the page. It ends some seconds
after the driver, however the driver ends. If it cannot be started, a sentence says so, and the run goes on.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from analysis.page.server import address_of, listening
from trainable.errors import InputError, first_line
from trainable.record.run_files import RunFiles


@contextmanager
def watched(files: RunFiles, console: Console) -> Iterator[None]:
    """Serve the page of a run during the block, and print its address once."""
    process = _started(files, console)
    try:
        yield
    finally:
        if process is not None and process.stdin is not None:
            process.stdin.close()  # the process then ends by itself, after an open page has fetched the report


def _started(files: RunFiles, console: Console) -> "subprocess.Popen[bytes] | None":
    try:
        with listening(None) as listener:
            descriptor = listener.fileno()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "analysis.page.watched", files.called, str(descriptor)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[descriptor],
                start_new_session=True,  # Ctrl-C is for the driver
            )
            console.print(f"Watch: {address_of(listener)} (on this machine alone)", highlight=False)
            return process
    except (InputError, OSError) as error:
        console.print(f"The page to watch cannot be served ({first_line(error)}): the run goes on without it.")
        return None
