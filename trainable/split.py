"""Which rows train and which validate: row numbers only, so that 74 M rows are split without rewriting one.

The permutation is that of `datasets` (`train_test_split` and `shuffle` with the same seed), made with numpy alone, so
that results can be compared with published ones. Shapes: R row numbers, in the order of their use.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.config import CorpusConfig, TeacherRows, require

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers (from 0, in the order of the file), in the order of their use. No row is in both halves."""

    train: Rows  # what the student trains on: corpus.train_rows of train_split
    eval: Rows  # what it is validated on: corpus.eval_rows of the validation split
    train_split: Rows  # the whole training split
    every: Rows  # every row of the corpus, validation included


def split_rows(rows: int, config: CorpusConfig) -> Split:
    """The split of a corpus of `rows` rows: one split by fraction, or fold `config.fold` of `config.folds`.

    Raises InputError if there are too few rows.
    """
    every_R = np.random.default_rng(config.split_seed).permutation(rows)
    every_R.flags.writeable = False  # the others are views of it
    if config.folds is None:
        eval_R, *parts = _fraction(every_R, config.test_fraction)
    else:
        eval_R, *parts = _folds(every_R, config.folds, config.fold)
    _require_rows("train_rows", config.train_rows, sum(map(len, parts)), rows)
    _require_rows("eval_rows", config.eval_rows, len(eval_R), rows)
    return Split(_limited(parts, config.train_rows), eval_R[: config.eval_rows], _joined(parts), every_R)


def rows_digest(rows_R: Rows) -> str:
    """SHA-256 of row numbers in their order, to stand for them in fingerprints."""
    return hashlib.sha256(np.ascontiguousarray(rows_R, "<i8").data).hexdigest()


def teacher_rows(split: Split, which: TeacherRows) -> Rows:
    """The rows that the teacher is counted on; "all" has seen the validation rows and is a probe of that leak."""
    return {"student": split.train, "train_split": split.train_split, "all": split.every}[which]


def _fraction(every_R: Rows, fraction: float) -> list[Rows]:
    """[validation, training]"""
    n_test = math.ceil(fraction * len(every_R))
    return [every_R[:n_test], every_R[n_test:]]


def _folds(every_R: Rows, folds: int, fold: int) -> list[Rows]:
    """[validation fold, each training fold in order, the fewer than `folds` rows that are left over]"""
    size = len(every_R) // folds
    parts = [every_R[i * size : (i + 1) * size] for i in range(folds)]
    return [parts.pop(fold), *parts, every_R[folds * size :]]


def _limited(parts: list[Rows], limit: int | None) -> Rows:
    """The first rows of the training split; of folds, the first rows of *each*, as published.

    First rows of the whole would be the same rows for every fold but one: k folds would share one training set.
    """
    if limit is None or len(parts) == 1:
        return _joined(parts)[:limit]
    *folds, _ = parts
    base, extra = divmod(min(limit, sum(map(len, folds))), len(folds))
    taken = [fold_R[: base + (i < extra)] for i, fold_R in enumerate(folds)]
    left_over = limit - sum(map(len, taken))
    return _joined([*taken, parts[-1][:left_over]])


def _joined(parts: list[Rows]) -> Rows:
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
