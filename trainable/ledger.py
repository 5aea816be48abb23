"""The ledger of a trial: every report appended to a file of its own, flushed, and never rewritten.

Tune's own records lose rows when a driver or a worker dies; this file is the truth that tables, gains and resumption
are made from. A retried trial may repeat steps: the last row of a step wins. A killed writer may leave half a last
line: it is not read, and cut off before the next row is written.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

from trainable import names
from trainable.errors import InputError

Row = dict[str, Any]


def append_row(path: Path, row: Row) -> None:
    """Append one JSON line and fsync it; NaN and infinities, which JSON has no words for, are written as null."""
    line = json.dumps({key: None if _not_finite(value) else value for key, value in row.items()}, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as stream:
        _cut_half_line(stream)
        stream.write(line.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_lines(path: Path) -> list[Row]:
    """All whole rows in order; none if the file is absent. Raises InputError for a damaged line before the last."""
    if not path.exists():
        return []
    *whole, _half = path.read_bytes().split(b"\n")
    return [_parse(path, number, line) for number, line in enumerate(whole, start=1)]


def read_reports(path: Path) -> list[Row]:
    """Rows of a trial's ledger, one a step (the last written wins), by step."""
    by_step = {row[names.STEP]: row for row in read_lines(path)}
    return [by_step[step] for step in sorted(by_step)]


def _parse(path: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise InputError(f"line {number} of {path} is damaged: mend or delete that line; the rest can be read.")
    return row


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


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
