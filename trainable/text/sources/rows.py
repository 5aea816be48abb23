"""Interface of all sources of text: a row count, the rows as Arrow batches, and a fingerprint when asked.

A row is a string or null. Rows are read in the order of the file, a batch at a time, so that a corpus of any size is
read in bounded memory. Row numbers in messages count from 1.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from trainable.errors import InputError, require

TEXT = pa.large_string()  # 64-bit offsets: a document may exceed 2 GiB
BATCH_BYTES = 1 << 24  # of a batch, unless one row is longer: documents may be long


class RowSource(NamedTuple):
    """A column of text rows of any source."""

    rows: int  # empty ones included
    fingerprint: Callable[[], str]  # changes whenever the content does; it may read all of it
    read: Callable[[int], Iterator[pa.Array]]  # (rows of a batch) -> batches of type TEXT
    notes: tuple[str, ...] = ()  # notes to the user on what is read
    split: str | None = None  # the split that is read, if there are several


def require_text_column(schemas: Sequence[pa.Schema], column: str, where: Sequence[object]) -> None:
    """Raise InputError unless each schema has one column of that name, and it holds text.

    A column without a type is accepted if it holds text in another schema. where: owner of each schema, for messages.
    """
    untyped = []
    for schema, owner in zip(schemas, where, strict=True):
        names = ", ".join(map(repr, schema.names))
        require(column in schema.names, f"{owner} has no column {column!r}: set corpus.column to one of {names}.")
        found = schema.names.count(column)
        require(found == 1, f"{owner} has {found} columns {column!r}: rename or remove all but one.")
        kind = schema.field(column).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        untyped.append(pa.types.is_null(plain))
        is_text = pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_string_view(plain)
        require(is_text or (untyped[-1] and len(schemas) > 1), _not_text(column, owner, kind))
    require(not all(untyped), _not_text(column, where[0], pa.null()))


def copies_note(contents: Iterable[tuple[Path, Hashable]]) -> tuple[str, ...]:
    """Warn of files with equal content, if any. contents: pairs of (file, value that stands for its content)."""
    first: dict[Hashable, Path] = {}
    copies = [(path, first[content]) for path, content in contents if first.setdefault(content, path) != path]
    if not copies:
        return ()
    path, original = copies[0]
    more = f", and {len(copies) - 1} more files are copies too" if len(copies) > 1 else ""
    return (
        f"warning: {path.name} is a copy of {original.name}{more}: such rows train twice, or both train and validate; "
        "remove the copy, or give a pattern without it",
    )


def _not_text(column: str, owner: object, kind: pa.DataType) -> str:
    return f"column {column!r} of {owner} holds {kind}, not text: set corpus.column to a column of strings."


def checked_texts(arrays: Iterable[pa.Array], where: object) -> Iterator[pa.Array]:
    """Yield the arrays as TEXT, cut into parts of some BATCH_BYTES.

    Raises an InputError that names a row that is not UTF-8, which Arrow does not check.
    """
    first = 0
    for array in chain.from_iterable(a.chunks if isinstance(a, pa.ChunkedArray) else [a] for a in arrays):
        text = array.cast(TEXT, safe=False)
        try:
            text.validate(full=True)
        except pa.ArrowInvalid:
            raise InputError(
                f"row {first + _first_bad(text) + 1} of {where} is not UTF-8: convert the file to UTF-8."
            ) from None
        yield from _cut(text)
        first += len(text)


def _cut(text: pa.Array) -> Iterator[pa.Array]:
    if text.nbytes <= BATCH_BYTES or len(text) == 1:
        yield text
        return
    half = len(text) // 2
    yield from _cut(text.slice(0, half))
    yield from _cut(text.slice(half))


def _first_bad(text: pa.Array) -> int:
    for row, value in enumerate(text):
        try:
            value.as_py()
        except UnicodeDecodeError:
            return row
    return 0
