"""Rows of files of lines: the line itself (.txt), or a column of the JSON object on it (.jsonl, .ndjson, .json).

Line numbers are row numbers: a blank line is an empty row. A "\\r" before the end of a line is dropped. Files are read
through when they are opened, to count their rows: a line that cannot be read is told then, not after minutes of work.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from trainable.errors import InputError, require
from trainable.record.files import fingerprint
from trainable.text.files import JSONL, LINES
from trainable.text.lines import Hear, lines
from trainable.text.rows import BATCH_BYTES, TEXT, RowSource

_ONE_A_LINE = "write one JSON object a line"
# Numbers are of no interest, and Python refuses whole ones of over 4,300 digits; an object is a tuple of its pairs, so
# that a name which it has twice is seen.
_JSON = json.JSONDecoder(parse_int=float, object_pairs_hook=tuple)

RowsOf = Callable[[Path, Hear], Iterator[str | None]]  # (file, who hears its bytes) -> its rows


def open_text(paths: Sequence[Path], column: str = "text") -> RowSource:
    """The lines of text files. Raises InputError that names the row for a file that is not UTF-8 text."""
    require(column == "text", f"{paths[0]} is plain text and has no column {column!r}: leave corpus.column out.")
    return open_rows(paths, LINES, lambda path, hear: map(_without_end, lines(path, hear)))


def open_jsonl(paths: Sequence[Path], column: str) -> RowSource:
    """A column of files with one JSON object a line; null counts as an empty row.

    Raises InputError that names the row for what is not UTF-8, not a JSON object, lacks the column, or is not text.
    """

    def rows_of(path: Path, hear: Hear) -> Iterator[str | None]:
        for row, line in enumerate(lines(path, hear), start=1):
            yield _parse_json(line, column, partial(_refuse, path, row))

    return open_rows(paths, JSONL, rows_of)


def open_rows(paths: Sequence[Path], kind: str, rows_of: RowsOf) -> RowSource:
    """The rows of all files, one after the other. Their fingerprint is that of the content, packed or not."""
    scans = [_scan(path, rows_of) for path in paths]
    digests = [digest for _, digest in scans]

    def read(batch_rows: int) -> Iterator[pa.Array]:
        batch: list[str | None] = []
        size = 0
        for path in paths:
            for text in rows_of(path, _nobody):
                batch.append(text)
                size += len(text or "")
                if len(batch) == batch_rows or size > BATCH_BYTES:
                    yield pa.array(batch, TEXT)
                    batch, size = [], 0
        if batch:
            yield pa.array(batch, TEXT)

    content = digests[0] if len(digests) == 1 else digests
    return RowSource(sum(rows for rows, _ in scans), lambda: fingerprint([kind, content]), read)


def _scan(path: Path, rows_of: RowsOf) -> tuple[int, str]:
    """Rows and SHA-256 of a file, each row of which was read."""
    digest = hashlib.sha256()
    return sum(1 for _ in rows_of(path, digest.update)), digest.hexdigest()


def _nobody(raw: bytes) -> None:
    pass


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _parse_json(line: str, column: str, refuse: Callable[[str, str], NoReturn]) -> str | None:
    if line.isspace():
        return None
    line = _without_end(line)
    try:
        record = _JSON.decode(line)
    except json.JSONDecodeError as error:
        refuse(f"is not a JSON object ({_reason(line, error)}, at character {error.pos + 1})", _ONE_A_LINE)
    except RecursionError:
        refuse("is not a JSON object (it is nested too deep)", _ONE_A_LINE)
    if not isinstance(record, tuple):
        refuse(f"is not a JSON object but {_kind(record)}", _ONE_A_LINE)
    found = [value for name, value in record if name == column]
    if len(found) != 1:
        names = ", ".join(dict.fromkeys(repr(name) for name, _ in record)) or "its columns"
        if not found:
            refuse(f"has no column {column!r}", f"set corpus.column to one of {names}")
        refuse(f"has {len(found)} columns {column!r}", "keep one of them")
    text = found[0]
    if text is not None and not isinstance(text, str):
        refuse(f"holds no text in column {column!r} but {_kind(text)}", "set corpus.column to a column of strings")
    if text is not None and not _encodable(text):
        refuse("holds half a surrogate pair, which no UTF-8 text can", "mend or remove it")
    return text


def _reason(line: str, error: json.JSONDecodeError) -> str:
    """What is wrong where the decoder stopped, in words for the mistakes that people make."""
    here, before, after = line[error.pos : error.pos + 1], line[: error.pos].rstrip(), line[error.pos + 1 :].lstrip()
    if here == "'":
        return "single quotes where JSON has double ones"
    if (here in ("}", "]") and before.endswith(",")) or (here == "," and after[:1] in ("}", "]")):
        return "a comma with nothing after it"
    if here and here < " ":
        return f"a raw control character, which JSON writes as {json.dumps(here)[1:-1]}"
    if not line[error.pos :].strip():
        return "it ends too early"
    return error.msg[:1].lower() + error.msg[1:]


def _kind(value: Any) -> str:
    if isinstance(value, float):
        return "a number" if math.isfinite(value) else "NaN or infinity"
    kinds = {str: "a string", bool: "true or false", list: "a list", tuple: "an object", type(None): "null"}
    return kinds[type(value)]


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(path: Path, row: int, what: str, mend: str) -> NoReturn:
    raise InputError(f"row {row} of {path} {what}: {mend}.")
