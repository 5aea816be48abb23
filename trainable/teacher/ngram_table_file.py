"""The file of an n-gram table: its arrays between a header and a digest, so that loading is mapping and checking.

Magic, version, length of the facts, facts as padded JSON with the type and length of each array, arrays, SHA-256 of all
before it: as the file of a bigram table (teacher/table.py), with another magic.
"""

import hashlib
import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.errors import DamagedFile, InputError, require
from trainable.record.files import atomic_file
from trainable.teacher.ngram_table import FORMAT_VERSION, MAGIC, PLAIN_FACTS, Level, NgramTable, header
from trainable.teacher.table import COUNT_AGAIN, DIGEST_BYTES, PREFIX_BYTES, raw_bytes


def save_ngrams(table: NgramTable, path: Path) -> None:
    """Write the table atomically: `path` is the old file or the whole new one, never a part."""
    digest = hashlib.sha256()
    with atomic_file(path) as stream:
        parts: list[bytes | memoryview] = [header(table), *map(raw_bytes, table.arrays.values())]
        for part in parts:
            stream.write(part)
            digest.update(part)
        stream.write(digest.digest())


def load_ngrams(path: Path, expect_tokenizer: str | None = None) -> NgramTable:
    """The table in a file, its arrays read-only and memory-mapped, after a check of every byte.

    Raises DamagedFile where a byte is not what was written, InputError if the file is missing, no n-gram table, of
    another format version, or, where `expect_tokenizer` gives a fingerprint, counted with another tokenizer.
    """
    content = _mapped(path)

    # 1 is it a table, of this format, and whole?
    require(
        bytes(content[: len(MAGIC)]) == MAGIC,
        f"{path} is no n-gram table, or its beginning is damaged: count the table again.",
    )
    version = int.from_bytes(content[8:12], "little")
    require(
        version == FORMAT_VERSION,
        f"{path} has version {version} of the n-gram table format, this program reads {FORMAT_VERSION}: "
        "count the table again.",
    )
    body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if len(body) < PREFIX_BYTES or hashlib.sha256(body).digest() != bytes(digest):
        raise DamagedFile(path, "its checksum does not match", COUNT_AGAIN)

    # 2 facts and arrays; a digest shows that nobody damaged the file, not that its maker meant well
    try:
        table = _parsed(body)
        _check_values(table)
    except (InputError, ValueError, TypeError, KeyError, IndexError) as error:
        raise DamagedFile(path, str(error), COUNT_AGAIN) from None

    # 3 is it of this run's tokenizer?
    require(
        expect_tokenizer in (None, table.tokenizer_fingerprint),
        f"{path} was counted with tokenizer {table.tokenizer_fingerprint}, this run has {expect_tokenizer}: "
        "count the table again with this tokenizer.",
    )
    return table


def _mapped(path: Path) -> memoryview:
    """The file, mapped for reading."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, 2)
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
    except FileNotFoundError:
        raise InputError(f"the n-gram table {path} does not exist: count it first, or correct the path.") from None
    except OSError as error:
        raise InputError(f"the n-gram table {path} cannot be read ({error.strerror}): correct the path.") from None


def _parsed(body: memoryview) -> NgramTable:
    """Facts and arrays of a file without its digest, the arrays as views."""
    start = PREFIX_BYTES + int.from_bytes(body[12:PREFIX_BYTES], "little")
    facts = json.loads(bytes(body[PREFIX_BYTES:start]))
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype, length in facts["arrays"]:
        arrays[name] = np.frombuffer(body, np.dtype(dtype), length, start)
        start += arrays[name].nbytes
    if start != len(body):
        raise ValueError("its arrays do not fill it")
    plain: dict[str, Any] = {name: facts[name] for name in PLAIN_FACTS}
    plain["ngrams"] = tuple(facts["ngrams"])
    base_V = arrays.pop("base_V")
    levels: list[dict[str, Any]] = [{"pruned_R": None} for _ in range(facts["order"] - 1)]
    for name, array in arrays.items():
        field, number = name.split(".")
        levels[int(number) - 1][field] = array
    return NgramTable(
        levels=tuple(Level(**level) for level in levels),
        base_V=base_V,
        discounts=tuple((float(d1), float(d2), float(d3)) for d1, d2, d3 in facts["discounts"]),
        **plain,
    )


def _check_values(table: NgramTable) -> None:
    """Raise ValueError where a row reaches out of memory, or a count or a probability is none."""
    if not (np.isfinite(table.base_V).all() and (table.base_V >= 0).all()):
        raise ValueError("a probability is negative or no number")
    if not all(0 < d <= i for triple in table.discounts for i, d in enumerate(triple, 1)):
        raise ValueError("a discount is outside its range")
    for level in table.levels:
        if (level.indptr[1:] < level.indptr[:-1]).any():
            raise ValueError("its rows overlap")
        if not len(level.columns):
            continue
        if not 0 <= int(level.columns.min()) <= int(level.columns.max()) < table.vocab_size:
            raise ValueError("a column is outside its vocabulary")
        falls = np.flatnonzero(level.columns[1:] <= level.columns[:-1]) + 1
        if not np.isin(falls, level.indptr).all():
            raise ValueError("a row does not ascend")
        if int(level.codes.max()) >= len(level.count_L) or int(level.count_L.min()) < 1:
            raise ValueError("a count is missing, or below 1")
