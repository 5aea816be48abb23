"""Standard output and error that can fail without ending a command: closed, full, or of an encoding without a letter.

What a command is for is on the disk; what it prints is said as far as it can be.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


@contextmanager
def steady_output() -> Iterator[None]:
    """Within the block nothing that is printed can raise; letters that a stream does not have are written as \\u...."""
    _open_standard_files()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Steady(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()  # else Python does at the end, and complains
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _open_standard_files() -> None:
    """Open what the caller has closed (`>&-`): the next file of ours would get its number, and what is printed."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number, inheritable=True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


class _Steady:
    """A text stream whose writing never raises; the rest of it is the stream's own."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        self._give_up()
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write or drop each of the lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, or drop what was kept back."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        """Let what is kept back, and all that comes, go to nowhere."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
