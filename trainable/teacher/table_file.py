"""One file for a bigram table: header, raw arrays, SHA-256 of all that stands before it.

A plain layout instead of .npz, so that the arrays can be memory-mapped (processes that load the same file share its
pages), nothing is unpickled, and every bit of the file is covered by the digest:

    magic (8 bytes) | version (4) | length of the header (4) | header: JSON padded with spaces | arrays | digest (32)

The digest is `BigramTable.checksum`.
"""

import hashlib
import json
import mmap
from pathlib import Path
from typing import Any, Final

import numpy as np

from trainable.errors import InputError
from trainable.record.files import atomic_file
from trainable.teacher.table import ARRAYS, FACTS, FORMAT_VERSION, MAGIC, PREFIX_BYTES, BigramTable, header, raw_bytes

DIGEST_BYTES: Final = 32


def save_table(table: BigramTable, path: Path) -> None:
    """Write the table atomically: `path` is the old file or the whole new one, never a part."""
    parts: list[bytes | memoryview] = [header(table), *(raw_bytes(getattr(table, name)) for name in ARRAYS)]
    digest = hashlib.sha256()
    with atomic_file(path) as stream:
        for part in parts:
            stream.write(part)
            digest.update(part)
        stream.write(digest.digest())


def load_table(path: Path, expect_tokenizer: str | None = None) -> BigramTable:
    """The table in a file, its arrays read-only and memory-mapped, after a check of every byte.

    Raises InputError if the file is missing, damaged, no bigram table, of another format version, or, where
    `expect_tokenizer` gives a fingerprint, counted with another tokenizer.
    """
    content = _content(path)
    _check_kind(path, content)
    body = len(content) - DIGEST_BYTES
    if body < PREFIX_BYTES or hashlib.sha256(content[:body]).digest() != bytes(content[body:]):
        raise InputError(f"{path} is damaged (its checksum does not match): delete it and count the table again.")
    try:
        table = _parsed(content[:body])
    except (InputError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is no usable bigram table ({error}): delete it and count the table again.") from None
    _check_tokenizer(path, table, expect_tokenizer)
    return table


def _content(path: Path) -> memoryview:
    """The file, mapped for reading."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, 2)
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
    except FileNotFoundError:
        raise InputError(f"the bigram table {path} does not exist: count it first, or correct the path.") from None
    except OSError as error:
        raise InputError(f"the bigram table {path} cannot be read ({error.strerror}): correct the path.") from None


def _check_kind(path: Path, content: memoryview) -> None:
    if bytes(content[: len(MAGIC)]) != MAGIC:
        raise InputError(f"{path} is no bigram table, or its beginning is damaged: count the table again.")
    version = int.from_bytes(content[8:12], "little")
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} has version {version} of the bigram table format, this program reads {FORMAT_VERSION}: "
            "count the table again."
        )


def _parsed(body: memoryview) -> BigramTable:
    start = PREFIX_BYTES + int.from_bytes(body[12:PREFIX_BYTES], "little")
    facts = json.loads(bytes(body[PREFIX_BYTES:start]))
    arrays: dict[str, Any] = {}
    for name in ARRAYS:
        dtype, length = np.dtype(facts["arrays"][name][0]), facts["arrays"][name][1]
        arrays[name] = np.frombuffer(body, dtype, length, start)
        start += arrays[name].nbytes
    if start != len(body):
        raise ValueError("its arrays do not fill it")
    table = BigramTable(**arrays, **{name: facts[name] for name in FACTS})
    _check_values(table)
    return table


def _check_values(table: BigramTable) -> None:
    """A digest shows that nobody damaged the file, not that its maker meant well: no row may reach out of memory."""
    if (np.diff(table.indptr) < 0).any():
        raise ValueError("its rows overlap")
    if len(table.indices) and not 0 <= int(table.indices.min()) <= int(table.indices.max()) < table.vocab_size:
        raise ValueError("a column is outside its vocabulary")
    for values in (table.values, table.backoff_V, table.base_V):
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError("a probability is negative or no number")


def _check_tokenizer(path: Path, table: BigramTable, expected: str | None) -> None:
    if expected is not None and table.tokenizer_fingerprint != expected:
        raise InputError(
            f"{path} was counted with tokenizer {table.tokenizer_fingerprint}, this run has {expected}: "
            "count the table again with this tokenizer."
        )
