"""Choose the rows that train and the rows that validate, as row ids: 74 M rows are split without rewriting one.

The permutation equals that of `datasets` (`train_test_split` and `shuffle` with the same seed), so that results can be
compared with published ones, but needs numpy alone. A part of the split is a range of positions in the permuted rows:
folds share parts, and a shared part is the same range in each fold.

Shapes: N rows of the corpus, R chosen rows, in the order of their use.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.errors import require
from trainable.text.settings import CorpusConfig, TeacherRows

RowIds = NDArray[np.signedinteger[Any]]  # numbers of rows, from 0 in the order of the file; dtype: `row_id_dtype`
Parts = tuple[range, ...]  # positions in the permutation, in the order of their use
DIGEST_ROWS = 1 << 16  # row ids digested at once


@dataclass(frozen=True, eq=False)
class Split:
    """Row ids for training and validation; no row is in both."""

    permuted: Callable[[], RowIds]  # all row ids, permuted; computed at the first call
    eval_part: range  # rows that validate the student: corpus.eval_rows of the validation split or of its half
    train_parts: Parts  # rows that train the student: corpus.train_rows of the training split
    train_split_parts: Parts  # the whole training split
    every_parts: Parts  # every row of the corpus, validation included

    def row_ids(self, parts: Parts) -> RowIds:
        """Row ids of some parts, end to end, read-only: a view of one part, a copy of several."""
        row_ids_N = self.permuted()
        views = [row_ids_N[part.start : part.stop] for part in parts]
        row_ids_R = views[0] if len(views) == 1 else np.concatenate(views)
        row_ids_R.flags.writeable = False
        return row_ids_R

    @property
    def train(self) -> RowIds:
        """Row ids of the training rows."""
        return self.row_ids(self.train_parts)

    @property
    def eval(self) -> RowIds:
        """Row ids of the validation rows."""
        return self.row_ids((self.eval_part,))


def row_id_dtype(rows: int) -> np.dtype[np.signedinteger[Any]]:
    """Narrowest dtype of row ids: the bytes held for each row decide how much memory a preparation takes."""
    return np.dtype("<i4" if rows <= 1 << 31 else "<i8")


def permuted_rows(rows: int, seed: int) -> RowIds:
    """All row ids in the order that default_rng(seed).permutation(rows) gives, read-only."""
    row_ids_N = np.arange(rows, dtype=row_id_dtype(rows))
    np.random.default_rng(seed).shuffle(row_ids_N)
    row_ids_N.flags.writeable = False  # parts are views of it
    return row_ids_N


def split_rows(rows: int, config: CorpusConfig, permuted: Callable[[int, int], RowIds] = permuted_rows) -> Split:
    """Split the row ids of a corpus of `rows` rows into `split.train` and `split.eval`, which have no row in common.

    config (trainable.config.CorpusConfig): the seed `split_seed` permutes the row ids, as
    `datasets.Dataset.train_test_split` does. The first `test_fraction` of them validate or, with `folds` and `fold`,
    that fold; the others train. `train_rows` and `eval_rows` limit each to its first rows.
    permuted: (rows, seed) -> the permutation, for callers that keep one for several splits.
    Raises InputError if there are fewer rows than the config asks for.
    """
    if config.folds is None:
        n_test = math.ceil(config.test_fraction * rows)
        eval_part, parts = range(n_test), [range(n_test, rows)]
    else:
        size = rows // config.folds
        parts = [range(fold * size, (fold + 1) * size) for fold in range(config.folds)]
        eval_part = parts.pop(config.fold)
        parts.append(range(config.folds * size, rows))  # the last rows, fewer than the folds
    every_parts = [eval_part, *parts]
    _require_rows("train_rows", config.train_rows, sum(map(len, parts)), rows)
    validation = _half(eval_part, config, rows)
    return Split(
        permuted=cache(partial(permuted, rows, config.split_seed)),
        eval_part=validation,
        train_parts=tuple(filter(len, _limited(parts, config.train_rows))),
        train_split_parts=tuple(filter(len, parts)),
        every_parts=tuple(filter(len, every_parts)),
    )


def row_ids_digest(row_ids_R: RowIds) -> str:
    """SHA-256 of row ids in their order, to stand for them in fingerprints."""
    digest = hashlib.sha256()
    for first in range(0, len(row_ids_R), DIGEST_ROWS):
        digest.update(np.ascontiguousarray(row_ids_R[first : first + DIGEST_ROWS], "<i8").data)
    return digest.hexdigest()


def teacher_parts(split: Split, which: TeacherRows) -> Parts:
    """Parts whose rows the teacher is counted on; "all" includes the validation rows, to probe what that leak does."""
    return {"student": split.train_parts, "train_split": split.train_split_parts, "all": split.every_parts}[which]


def _limited(parts: list[range], limit: int | None) -> list[range]:
    """Limit the training split to its first rows; with folds, take the first rows of *each* fold, as published.

    The first rows of the whole split would be the same for every fold but one: k folds would share one training set.
    """
    if limit is None or len(parts) == 1:
        return [part[:limit] for part in parts]
    *folds, remainder = parts
    base, extra = divmod(min(limit, sum(map(len, folds))), len(folds))
    taken = [fold[: base + (i < extra)] for i, fold in enumerate(folds)]
    return [*taken, remainder[: limit - sum(map(len, taken))]]


def _half(eval_part: range, config: CorpusConfig, rows: int) -> range:
    """Validation rows that `corpus.eval_half` chooses. Raises InputError if there are too few rows for both halves."""
    if config.eval_half == "whole":
        _require_rows("eval_rows", config.eval_rows, len(eval_part), rows)
        return eval_part[: config.eval_rows]
    half = config.eval_rows or max(1, len(eval_part) // 2)
    require(
        len(eval_part) >= 2 * half,
        f"corpus.eval_half {config.eval_half} needs {2 * half:,} rows, {half:,} in each half, but the validation split "
        f"has {len(eval_part):,} of the corpus's {rows:,}: lower corpus.eval_rows, change the split, or give a larger "
        "corpus.",
    )
    last = None if config.eval_rows is None else 2 * half
    return eval_part[:half] if config.eval_half == "choosing" else eval_part[half:last]


def _require_rows(name: str, wanted: int | None, found: int, rows: int) -> None:
    part = "training" if name == "train_rows" else "validation"
    needed = max(wanted or 1, 1)
    require(
        found >= needed,
        f"corpus.{name} needs {needed:,} rows but the {part} split has {found:,} of the corpus's {rows:,}: "
        f"lower corpus.{name}, change the split, or give a larger corpus.",
    )
