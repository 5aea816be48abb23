"""Ctrl-C during a run: at the first, Tune stops the trials and returns; any further one ends the process at once.

Ending at once is safe: ledgers and checkpoints are whole at any time, and the lock of the run ends with the process.
Python's own KeyboardInterrupt could be swallowed inside Ray, or wait for Ray's shutdown.
"""

import os
import signal
from contextlib import suppress
from types import FrameType

import ray  # noqa: F401  (brings psutil along)

# isort: split
import psutil

from sweeps.engine.termination import exit_status

_SHOW_CURSOR = "\x1b[?25h"  # progress bars hide it


class EndAtOnce:
    """Block in which a SIGINT that Tune does not handle prints the command `resume` and ends the process.

    Tune leaves a handler behind that only records the signal, so each run of Tune needs a block of its own.
    """

    def __init__(self, resume: str):
        self._resume = resume

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, self._end)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _end(self, number: int, frame: FrameType | None) -> None:
        show_cursor = _SHOW_CURSOR if os.isatty(1) else ""
        said = f"{show_cursor}\nEnded at once; nothing is lost. Go on with: {self._resume}\n"
        try:
            os.write(1, said.encode())  # not print or rich: the signal may have interrupted one of them half-way
            end_children()
        finally:
            os._exit(exit_status())


def end_children() -> None:
    """Kill all processes below this one, such as agents of the driver's own Ray, which would outlive it."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
