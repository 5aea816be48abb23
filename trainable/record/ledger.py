"""The ledger of a trial: a file to which each report is appended and flushed; no row is ever rewritten.

Ray Tune's own records lose rows when a driver or a worker dies, so tables, gains and resumption are made from ledgers.
- A retried trial may repeat steps: the last row of a step counts.
- A killed writer may leave half a last line: it is not read, and it is cut off before the next row is written.
- Each row carries a checksum of its content: a flipped digit is found and named, and never becomes a number in a table.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

from trainable import names
from trainable.errors import DamagedFile
from trainable.record.files import sealed, unsealed

Row = dict[str, Any]


def append_row(path: Path, row: Row) -> None:
    """Append one row as a line and fsync the file. On a full disk, raise OSError and leave the file as it was."""
    line = ledger_line(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b", buffering=0) as stream:
        _cut_half_line(stream)
        whole = stream.seek(0, os.SEEK_END)
        try:
            while line:  # an unbuffered write may take only a part; the next one raises why
                line = line[stream.write(line) :]
            os.fsync(stream.fileno())
        except OSError:
            stream.truncate(whole)
            raise


def ledger_line(row: Row) -> bytes:
    """A row with its checksum as a line of JSON; NaN and infinities, which JSON lacks, become null."""
    lacking = {key for key, value in row.items() if isinstance(value, float) and not math.isfinite(value)}
    finite = {key: None if key in lacking else value for key, value in row.items()}
    return json.dumps(sealed(finite), allow_nan=False).encode() + b"\n"


def read_lines(path: Path) -> list[Row]:
    """Read all whole rows in order, without their checksums; an absent file has none.

    Raises DamagedFile for a damaged line. Text after the last newline is half a line, and is not read.
    """
    if not path.exists():
        return []
    *whole, _half = path.read_bytes().split(b"\n")
    return [_parse(path, number, line) for number, line in enumerate(whole, start=1)]


def read_reports(path: Path) -> list[Row]:
    """Read a trial's ledger: one row a step (the last one written), sorted by step."""
    by_step = {row[names.STEP]: row for row in read_lines(path)}
    return [by_step[step] for step in sorted(by_step)]


class LedgerTail:
    """Rows of a ledger that other processes append to; each `refresh` reads only rows added since the previous one."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[Row] = []
        self._end = 0  # number of bytes read so far, whole lines only
        self._inode = 0

    def refresh(self) -> bool:
        """Read the whole lines that were added; return whether `rows` changed.

        A file that became shorter, or was replaced by another one, is read again from its beginning.
        Raises DamagedFile for a damaged line, at every call.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return self._forget()
        is_new = self._forget() if found.st_ino != self._inode or found.st_size < self._end else False
        self._inode = found.st_ino
        if found.st_size == self._end:
            return is_new
        with open(self.path, "rb") as stream:
            stream.seek(self._end)
            *whole, _half = stream.read().split(b"\n")
        self.rows += [_parse(self.path, number, line) for number, line in enumerate(whole, start=len(self.rows) + 1)]
        self._end += sum(len(line) + 1 for line in whole)
        return is_new or bool(whole)

    def _forget(self) -> bool:
        """Drop all rows, to read again from the first line; return whether there were rows."""
        had_rows, self.rows, self._end = bool(self.rows), [], 0
        return had_rows


def _parse(path: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    plain = unsealed(row) if isinstance(row, dict) else None
    if plain is None:
        reason = "its checksum does not match" if isinstance(row, dict) else "it holds no JSON object"
        raise DamagedFile(path, f"line {number}: {reason}", f"restore it from a copy, or {_instead(path)}")
    return plain


def _instead(path: Path) -> str:
    """Remedy for a user without a copy. It is never to delete a line: a curve with a gap may end at another loss."""
    if path.name == names.RUNGS_FILE:
        return "delete it: ASHA then compares only the remaining trials with each other"
    if path.name == names.RESTARTS_FILE:
        return "delete it: it only records which workers died"
    return trained_again(path.parent)


def trained_again(folder: Path) -> str:
    """Remedy for a file of a trial that cannot be trusted: train the trial again."""
    return f"delete the folder {folder} and --resume the run, which trains it again"


def _cut_half_line(stream: Any) -> None:
    """Truncate an open binary file after its last newline."""
    size = stream.seek(0, os.SEEK_END)
    if size == 0:
        return
    stream.seek(size - 1)
    if stream.read(1) == b"\n":
        return
    stream.seek(0)
    stream.truncate(stream.read().rfind(b"\n") + 1)
