"""Read rows of files of lines: the line itself (.txt), or a column of the JSON object on it (.jsonl, .ndjson, .json).

Line numbers are row numbers: a blank line is an empty row. A "\\r" before the end of a line is dropped. Files are read
to their end when they are first opened, to count their rows: so a line that cannot be read is reported then, not after
minutes of work.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainable.errors import InputError, require
from trainable.record.files import fingerprint
from trainable.text.sources.files import JSONL, LINES
from trainable.text.sources.found import found_once
from trainable.text.sources.lines import Hear, lines
from trainable.text.sources.rows import BATCH_BYTES, TEXT, RowSource, copies_note

# Integers are read as floats: their values do not matter, and Python refuses integers of over 4,300 digits. An object
# becomes a tuple of its pairs, so that a name that it has twice is noticed.
_JSON = json.JSONDecoder(parse_int=float, object_pairs_hook=tuple)

_NOT_JSON = {"None": "null", "undefined": "null", "nan": "NaN", "True": "true", "False": "false"}
FORMAT = "rows 1"  # change it when the same file gives other rows, or other rows are refused
_ONE_A_LINE = "write one JSON object a line"
_OF_ARRAY = f"{_ONE_A_LINE} (`jq -c '.[]'` makes them of an array)"
RowsOf = Callable[[Path, Hear], Iterator[str | None]]  # (file, function that is told its bytes) -> its rows


def open_text(paths: Sequence[Path], column: str = "text") -> RowSource:
    """Open the lines of text files as rows. Raises an InputError that names the row that is not UTF-8 text."""
    require(column == "text", f"{paths[0]} is plain text and has no column {column!r}: leave corpus.column out.")
    return open_rows(paths, LINES, "", lambda path, hear: (line.removesuffix("\r") for line in lines(path, hear)))


def open_jsonl(paths: Sequence[Path], column: str) -> RowSource:
    """Open a column of files with one JSON object a line; null counts as an empty row.

    Raises an InputError that names the row that is not UTF-8, is not a JSON object, or has no text in the column.
    """

    def rows_of(path: Path, hear: Hear) -> Iterator[str | None]:
        for row, line in enumerate(lines(path, hear), start=1):
            try:
                yield _parse_json(line, column)
            except _Wrong as error:
                raise InputError(f"row {row} of {path} {error.what}: {error.mend}.") from None

    return open_rows(paths, JSONL, column, rows_of)


def open_rows(paths: Sequence[Path], kind: str, column: str, rows_of: RowsOf) -> RowSource:
    """Open the rows of all files, one file after the other. The fingerprint is that of the content, packed or not."""
    scans = [found_once(path, [FORMAT, kind, column], partial(_scan, path, rows_of)) for path in paths]
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
    notes = copies_note((path, digest) for path, (rows, digest) in zip(paths, scans, strict=True) if rows)
    return RowSource(sum(rows for rows, _ in scans), lambda: fingerprint([kind, content]), read, notes)


def _scan(path: Path, rows_of: RowsOf) -> list[Any]:
    """Read every row of a file; return their number and the SHA-256 of the content."""
    digest = hashlib.sha256()
    return [sum(1 for _ in rows_of(path, digest.update)), digest.hexdigest()]


def _nobody(raw: bytes) -> None:
    pass


class _Wrong(Exception):
    """Raised for a line: what is wrong with it, and how to correct it."""

    def __init__(self, what: str, mend: str = _ONE_A_LINE):
        super().__init__(what, mend)
        self.what, self.mend = what, mend


def _parse_json(line: str, column: str) -> str | None:
    if not line or line.isspace():
        return None
    try:
        record = _decoded(line)
    except json.JSONDecodeError as error:
        if line.startswith("["):
            raise _Wrong("begins a JSON array and not an object", _OF_ARRAY) from None
        raise _Wrong(f"is not a JSON object ({_reason(line, error)}, at character {error.pos + 1})") from None
    except RecursionError:
        raise _Wrong("is not a JSON object (it is nested too deep)") from None
    if not isinstance(record, tuple):
        mend = _OF_ARRAY if isinstance(record, list) else _ONE_A_LINE
        raise _Wrong(f"is not a JSON object but {_kind(record)}", mend)
    found = [value for name, value in record if name == column]
    if len(found) != 1:
        names = ", ".join(dict.fromkeys(repr(name) for name, _ in record)) or "its columns"
        if not found:
            raise _Wrong(f"has no column {column!r}", f"set corpus.column to one of {names}")
        raise _Wrong(f"has {len(found)} columns {column!r}", "keep one of them")
    text = found[0]
    if text is None:
        return None
    if not isinstance(text, str):
        raise _Wrong(
            f"holds no text in column {column!r} but {_kind(text)}", "set corpus.column to a column of strings"
        )
    if "\\u" in line and not _encodable(text):
        raise _Wrong("holds half a surrogate pair, which UTF-8 cannot encode", "correct or remove it")
    return text


def _decoded(line: str) -> Any:
    """Decode a line of JSON as `decode` does, in half the time if nothing stands around the object."""
    try:
        record, end = _JSON.raw_decode(line)
        if end == len(line):
            return record
    except json.JSONDecodeError:
        pass
    return _JSON.decode(line)


def _reason(line: str, error: json.JSONDecodeError) -> str:
    """Words for the mistake at which the decoder stopped; mistakes that people often make have their own."""
    here, before, after = line[error.pos : error.pos + 1], line[: error.pos].rstrip(), line[error.pos + 1 :].lstrip()
    if here == "'":
        return "single quotes where JSON has double ones"
    if (here in ("}", "]") and before.endswith(",")) or (here == "," and after[:1] in ("}", "]")):
        return "a comma with nothing after it"
    if error.msg == "Extra data" and here in (",", "{"):
        return "a comma after the object" if here == "," else "a second object on the line"
    if here and here < " ":
        return f"a raw control character, which JSON writes as {json.dumps(here)[1:-1]}"
    if not line[error.pos :].strip():
        return "it ends too early"
    if word := next((word for word in _NOT_JSON if line.startswith(word, error.pos)), None):
        return f"{word} where JSON has {_NOT_JSON[word]}"
    return error.msg[:1].lower() + error.msg[1:]


def _kind(value: Any) -> str:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else "a number"
    kinds = {str: "a string", bool: "true or false", list: "a list", tuple: "an object", type(None): "null"}
    return kinds[type(value)]


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
