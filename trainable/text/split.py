"""Which rows train and which validate: row numbers only, so that 74 M rows are split without rewriting one.

The permutation is that of `datasets` (`train_test_split` and `shuffle` with the same seed), made with numpy alone, so
that results can be compared with published ones. Shapes: R row numbers, in the order of their use.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.config import CorpusConfig, TeacherRows
from trainable.errors import require

Rows = NDArray[np.signedinteger[Any]]  # of `row_dtype`
DIGEST_ROWS = 1 << 16  # digested at once
Parts = tuple[Rows, ...]  # in the order of their use; folds have parts in common, which are tokenised and counted once


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers (from 0, in the order of the file), in the order of their use. No row is in both halves."""

    eval: Rows  # what the student is validated on: corpus.eval_rows of the validation split
    train_parts: Parts  # what it trains on: corpus.train_rows of the training split
    train_split_parts: Parts  # the whole training split
    every_parts: Parts  # every row of the corpus, validation included

    @cached_property
    def train(self) -> Rows:
        """Of all train_parts."""
        return _joined(self.train_parts)

    @cached_property
    def train_split(self) -> Rows:
        """Of all train_split_parts."""
        return _joined(self.train_split_parts)


def split_rows(rows: int, config: CorpusConfig) -> Split:
    """The split of a corpus of `rows` rows: one split by fraction, or fold `config.fold` of `config.folds`.

    Raises InputError if there are too few rows.
    """
    every_R = shuffled_rows(rows, config.split_seed)
    if config.folds is None:
        eval_R, *parts = _fraction(every_R, config.test_fraction)
    else:
        eval_R, *parts = _folds(every_R, config.folds, config.fold)
    _require_rows("train_rows", config.train_rows, sum(map(len, parts)), rows)
    _require_rows("eval_rows", config.eval_rows, len(eval_R), rows)
    return Split(
        eval=eval_R[: config.eval_rows],
        train_parts=_filled(_limited(parts, config.train_rows)),
        train_split_parts=_filled(parts),
        every_parts=_filled([eval_R, *parts]),
    )


def row_dtype(rows: int) -> np.dtype[np.signedinteger[Any]]:
    """The narrowest type of row numbers: what is held for each row decides the memory of a preparation."""
    return np.dtype("<i4" if rows <= 1 << 31 else "<i8")


def shuffled_rows(rows: int, seed: int) -> Rows:
    """default_rng(seed).permutation(rows), read-only."""
    every_R = np.arange(rows, dtype=row_dtype(rows))
    np.random.default_rng(seed).shuffle(every_R)
    every_R.flags.writeable = False  # parts are views of it
    return every_R


def rows_digest(rows_R: Rows) -> str:
    """SHA-256 of row numbers in their order, to stand for them in fingerprints."""
    digest = hashlib.sha256()
    for first in range(0, len(rows_R), DIGEST_ROWS):
        digest.update(np.ascontiguousarray(rows_R[first : first + DIGEST_ROWS], "<i8").data)
    return digest.hexdigest()


def teacher_parts(split: Split, which: TeacherRows) -> Parts:
    """The rows that the teacher is counted on; "all" has seen the validation rows and is a probe of that leak."""
    return {"student": split.train_parts, "train_split": split.train_split_parts, "all": split.every_parts}[which]


def _fraction(every_R: Rows, fraction: float) -> list[Rows]:
    """[validation, training]"""
    n_test = math.ceil(fraction * len(every_R))
    return [every_R[:n_test], every_R[n_test:]]


def _folds(every_R: Rows, folds: int, fold: int) -> list[Rows]:
    """[validation fold, each training fold in order, the fewer than `folds` rows that are left over]"""
    size = len(every_R) // folds
    parts = [every_R[i * size : (i + 1) * size] for i in range(folds)]
    return [parts.pop(fold), *parts, every_R[folds * size :]]


def _limited(parts: list[Rows], limit: int | None) -> list[Rows]:
    """The first rows of the training split; of folds, the first rows of *each*, as published.

    First rows of the whole would be the same rows for every fold but one: k folds would share one training set.
    """
    if limit is None or len(parts) == 1:
        return [part_R[:limit] for part_R in parts]
    *folds, _ = parts
    base, extra = divmod(min(limit, sum(map(len, folds))), len(folds))
    taken = [fold_R[: base + (i < extra)] for i, fold_R in enumerate(folds)]
    left_over = limit - sum(map(len, taken))
    return [*taken, parts[-1][:left_over]]


def _filled(parts: list[Rows]) -> Parts:
    """Without those that have no row, the remainder of the folds for one."""
    return tuple(part_R for part_R in parts if len(part_R))


def _joined(parts: Parts) -> Rows:
    if len(parts) == 1:
        return parts[0]
    joined_R = np.concatenate(parts)
    joined_R.flags.writeable = False
    return joined_R


def _require_rows(name: str, wanted: int | None, found: int, rows: int) -> None:
    part = "training" if name == "train_rows" else "validation"
    needed = max(wanted or 1, 1)
    require(
        found >= needed,
        f"corpus.{name} needs {needed:,} rows but the {part} split has {found:,} of the corpus's {rows:,}: "
        f"lower corpus.{name}, change the split, or give a larger corpus.",
    )
