"""What every source of text offers: a row count, the rows as Arrow batches, and a fingerprint of them when asked.

A row is a string or null. Rows are read in the order of the file, a batch at a time, so that a corpus of any size is
read in bounded memory. Row numbers in messages count from 1.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import pyarrow as pa

from trainable.errors import InputError, require

TEXT = pa.large_string()  # 64-bit offsets: a batch of long documents may exceed 2 GiB


class RowSource(NamedTuple):
    """A column of text rows, wherever it lies."""

    rows: int  # empty ones included
    fingerprint: Callable[[], str]  # changes whenever the content does; it may read all of it
    read: Callable[[int], Iterator[pa.Array]]  # (rows of a batch) -> batches of type TEXT


def require_text_column(schema: pa.Schema, column: str, where: object) -> None:
    """Raise InputError unless `schema` has a text column of that name."""
    names = ", ".join(map(repr, schema.names))
    require(column in schema.names, f"{where} has no column {column!r}: set corpus.column to one of {names}.")
    kind = schema.field(column).type
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_string_view(plain)
    require(is_text, f"column {column!r} of {where} holds {kind}, not text: set corpus.column to a column of strings.")


def checked_texts(arrays: Iterable[pa.Array], where: object) -> Iterator[pa.Array]:
    """The arrays as TEXT. Raises InputError that names the row where one is not UTF-8, which Arrow does not check."""
    first = 0
    for array in chain.from_iterable(a.chunks if isinstance(a, pa.ChunkedArray) else [a] for a in arrays):
        text = array.cast(TEXT, safe=False)
        try:
            text.validate(full=True)
        except pa.ArrowInvalid:
            raise InputError(
                f"row {first + _first_bad(text) + 1} of {where} is not UTF-8: convert the file to UTF-8."
            ) from None
        yield text
        first += len(text)


def _first_bad(text: pa.Array) -> int:
    for row, value in enumerate(text):
        try:
            value.as_py()
        except UnicodeDecodeError:
            return row
    return 0
