"""Read rows of comma-separated (.csv) or tab-separated (.tsv) files: a column that the first line names.

A quoted value may hold line breaks. A line that does not fit the others is refused: an unquoted comma or a lost quote
would silently cut or join texts. A blank line is an empty row.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainable.errors import InputError, require
from trainable.text.sources.files import CSV, TSV
from trainable.text.sources.lines import Hear, lines
from trainable.text.sources.rows import RowSource
from trainable.text.sources.rows_lines import open_rows

DELIMITERS = {CSV: ",", TSV: "\t"}


def open_csv(paths: Sequence[Path], kind: str, column: str) -> RowSource:
    """Open the column of the files, one file after the other. kind: CSV or TSV.

    Raises an InputError that names the line that is not UTF-8, is not of that form, or lacks the column.
    """

    def rows_of(path: Path, hear: Hear) -> Iterator[str | None]:
        csv.field_size_limit(sys.maxsize)  # a row may be a book
        reader = csv.reader((f"{line}\n" for line in lines(path, hear)), delimiter=DELIMITERS[kind], strict=True)
        header: list[str] = []
        place = first = 0
        while True:
            first = reader.line_num + 1
            try:
                values = next(reader, None)
            except csv.Error as error:
                raise InputError(
                    f"line {first} of {path} cannot be read as {kind} ({error}, found at line {reader.line_num}): "
                    'quote values that hold a separator, a quote or a line break, and double the quotes in them ("").'
                ) from None
            if values is None:
                return
            if first == 1:
                header, place = values, _place(values, column, path, kind)
                continue
            require(
                len(values) in (0, len(header)),
                f"line {first} of {path} has {len(values)} values where line 1 names {len(header)} columns: quote "
                "values that hold a separator.",
            )
            yield values[place] if values else None

    return open_rows(paths, kind, column, rows_of)


def _place(header: list[str], column: str, path: Path, kind: str) -> int:
    """Number of the column that holds the text."""
    found = header.count(column)
    require(found < 2, f"{path} has {found} columns {column!r}: rename or remove all but one.")
    require(bool(header), f"line 1 of {path} is blank, where the columns are named: remove it.")
    if found == 0:
        names = ", ".join(repr(name if len(name) < 40 else f"{name[:40]}...") for name in header)
        other = next((mark for mark in ";\t|," if mark in "".join(header)), None) if len(header) == 1 else None
        hint = f", or separate its columns by {DELIMITERS[kind]!r} and not by {other!r}" if other else ""
        raise InputError(
            f"{path} has no column {column!r} in its first line: set corpus.column to one of {names}{hint}."
        )
    return header.index(column)
