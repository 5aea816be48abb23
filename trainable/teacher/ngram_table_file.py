"""File of an n-gram table: it holds the arrays themselves (record/array_file.py), so loading maps and checks them."""

from pathlib import Path
from typing import Any

import numpy as np

from trainable.record.array_file import Arrays, Facts
from trainable.teacher.ngram_table import FACTS, NGRAM_FILE, Level, NgramTable
from trainable.teacher.table import require_tokenizer


def save_ngrams(table: NgramTable, path: Path) -> None:
    """Write an n-gram `table` to a file, atomically: `path` is the old file or the whole new one, never a part.

    Raises OSError if the file cannot be written.
    """
    NGRAM_FILE.write(path, table.file_facts, table.arrays.values())


def load_ngrams(path: Path, expect_tokenizer: str | None = None) -> NgramTable:
    """Load the n-gram table in the file `path`, with read-only, memory-mapped arrays, after a check of every byte.

    expect_tokenizer: the fingerprint that `estimate_ngrams` was given; None: any. `NgramTeacher(table)` makes a teacher
    of the table. Raises DamagedFile if a byte differs from what was written. Raises InputError if the file is missing,
    is not an n-gram table, has another format version, or was counted with another tokenizer than the expected one.
    """
    table = NGRAM_FILE.read(path, _made)
    require_tokenizer(path, table.tokenizer_fingerprint, expect_tokenizer)
    return table


def _made(facts: Facts, arrays: Arrays) -> NgramTable:
    """Make the table from a file. Raises an error for a missing array or an impossible value."""
    plain: dict[str, Any] = {name: facts[name] for name in FACTS}
    plain["ngrams"] = tuple(facts["ngrams"])
    plain["discounts"] = tuple((float(d1), float(d2), float(d3)) for d1, d2, d3 in facts["discounts"])
    levels: list[dict[str, Any]] = [{"pruned_R": None} for _ in range(facts["order"] - 1)]
    base_V = arrays.pop("base_V")
    for name, array in arrays.items():
        field, number = name.split(".")
        levels[int(number) - 1][field] = array
    table = NgramTable(levels=tuple(Level(**level) for level in levels), base_V=base_V, **plain)
    _check_values(table)
    return table


def _check_values(table: NgramTable) -> None:
    """Raise ValueError for a row outside the arrays, or an invalid count, discount or probability."""
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
