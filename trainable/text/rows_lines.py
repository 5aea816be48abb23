"""Rows of text files: one row a line, either the line itself (.txt) or a column of the JSON object on it (.jsonl).

Line numbers are row numbers: a blank line is an empty row. Lines end at "\\n" alone; a "\\r" before it is dropped.
"""

import codecs
import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from trainable.errors import InputError, require
from trainable.record.files import fingerprint
from trainable.text.rows import TEXT, RowSource

CHUNK_BYTES = 1 << 20
BATCH_CHARACTERS = 1 << 24  # a batch ends here even if it has few rows: documents may be long

Parse = Callable[[str, int], str | None]  # (line, row number from 1) -> text of the row


def open_text(path: Path, column: str = "text") -> RowSource:
    """The lines of a text file. Raises InputError that names the row for a file that is not UTF-8 text."""
    require(column == "text", f"{path} is plain text and has no column {column!r}: leave corpus.column out.")
    return _open_lines(path, lambda line, row: line, "text")


def open_jsonl(path: Path, column: str) -> RowSource:
    """A column of a file with one JSON object a line; null counts as an empty row.

    Raises InputError that names the row for what is not UTF-8, not a JSON object, lacks the column, or is not text.
    """
    parse = partial(_parse_json, path=path, column=column)
    source = _open_lines(path, parse, "jsonl")
    for row, line in zip(range(1, 101), _lines(path), strict=False):
        parse(line, row)  # a wrong column is told now, not after minutes of reading
    return source


def _open_lines(path: Path, parse: Parse, kind: str) -> RowSource:
    rows, digest = _scan(path)

    def read(batch_rows: int) -> Iterator[pa.Array]:
        batch: list[str | None] = []
        characters = 0
        for row, line in enumerate(_lines(path), start=1):
            batch.append(parse(line, row))
            characters += len(line)
            if len(batch) == batch_rows or characters > BATCH_CHARACTERS:
                yield pa.array(batch, TEXT)
                batch, characters = [], 0
        if batch:
            yield pa.array(batch, TEXT)

    return RowSource(rows, lambda: fingerprint([kind, digest]), read)


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8-sig", newline="\n") as stream:
        for line in stream:
            yield line.removesuffix("\n").removesuffix("\r")


def _scan(path: Path) -> tuple[int, str]:
    """Rows and SHA-256 of a file, and a check that all of it is UTF-8 text, in one pass."""
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    newlines, last = 0, b""
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            _check_text(path, decoder, chunk, newlines)
            digest.update(chunk)
            newlines, last = newlines + chunk.count(b"\n"), chunk[-1:]
    _check_text(path, decoder, b"", newlines, final=True)
    return newlines + (last not in (b"", b"\n")), digest.hexdigest()


def _check_text(
    path: Path, decoder: codecs.IncrementalDecoder, chunk: bytes, newlines: int, *, final: bool = False
) -> None:
    if b"\0" in chunk:
        row = newlines + chunk[: chunk.index(b"\0")].count(b"\n") + 1
        raise InputError(f"{path} is not a text file (NUL byte in row {row}): give a UTF-8 text or jsonl file.")
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        row = newlines + error.object[: error.start].count(b"\n") + 1
        raise InputError(f"row {row} of {path} is not UTF-8: convert the file to UTF-8.") from None


def _parse_json(line: str, row: int, *, path: Path, column: str) -> str | None:
    if not line or line.isspace():
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        _refuse(path, row, "is not a JSON object", "write one JSON object a line")
    names = ", ".join(map(repr, record))
    if column not in record:
        _refuse(path, row, f"has no column {column!r}", f"set corpus.column to one of {names or 'its columns'}")
    text = record[column]
    if text is None:
        return None
    if not isinstance(text, str):
        _refuse(path, row, f"holds no text in column {column!r}", "set corpus.column to a column of strings")
    if not _encodable(text):
        _refuse(path, row, "holds half a surrogate pair, which no UTF-8 text can", "mend or remove it")
    return text


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(path: Path, row: int, what: str, mend: str) -> NoReturn:
    raise InputError(f"row {row} of {path} {what}: {mend}.")
