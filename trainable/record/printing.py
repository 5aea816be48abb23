"""Standard output and error whose failures never end a command: closed, full, or unable to encode a character.

The results of a command are on the disk; what it prints is written as far as possible.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


@contextmanager
def steady_output() -> Iterator[None]:
    """Let no printing in the block raise; characters that a stream cannot encode are written as \\u...."""
    _open_standard_files()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Steady(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()  # else Python flushes at its end, and complains
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _open_standard_files() -> None:
    """Open standard files that the caller has closed (`>&-`); else the next file opened gets all that is printed."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number, inheritable=True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


class _Steady:
    """A text stream whose writing never raises; all else is that of the wrapped stream."""

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
        """Flush the buffered text, or drop it."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        """Send the buffered text, and all later text, to the null device."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
