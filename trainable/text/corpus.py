"""A column of text rows: the built-in novels, files on disk, or a data set of the Hugging Face hub.

One class serves all sources: the caller asks for rows by row id, and gets them in the order of the file, in bounded
memory. A fingerprint of the content goes into everything that is made from it. The built-in text, four novels of 1 MB
together (builtin.md names them), is always there: a first run needs no network, and is the same on every machine.

    python -c "from trainable.text.corpus import *; print(open_corpus(CorpusConfig()))"

Shapes: R wanted rows, W those of them in one window of the file.
"""

import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainable.errors import InputError, require
from trainable.record.files import user_path
from trainable.text.settings import CorpusConfig
from trainable.text.sources.files import CSV, JSONL, KNOWN, LINES, PARQUET, TSV, folder_files, form_of, pattern_files
from trainable.text.sources.hub import is_hub_id
from trainable.text.sources.rows import RowSource
from trainable.text.sources.rows_csv import open_csv
from trainable.text.sources.rows_datasets import SAVED_MARKS, open_hub, open_saved
from trainable.text.sources.rows_lines import open_jsonl, open_text
from trainable.text.sources.rows_parquet import open_parquet
from trainable.text.sources.split_names import ALL, TRAIN

BUILTIN = "builtin"
BUILTIN_FILE = Path(__file__).with_name("builtin.txt")
BATCH_ROWS = 8192
WINDOW_ROWS, WINDOWS = 1 << 18, 256  # rows of a window, or more if a corpus would have over WINDOWS windows
SCAN_ROWS = 1 << 20  # wanted row ids searched at once


@dataclass(frozen=True)
class Corpus:
    """A column of text rows. Row ids count from 0 in the order of the file; an empty row has one too."""

    name: str  # as the user gave it
    column: str
    rows: int  # empty ones included
    demonstration: bool  # the built-in text: a first answer about English, at the size of four novels
    digest: Callable[[], str] = field(repr=False)
    read: Callable[[int], Iterator[pa.Array]] = field(repr=False)
    split: str | None = None  # the split that is read, if there are several
    notes: tuple[str, ...] = ()  # notes to the user on what is read

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the content, 16 hex digits; the first call may read all of the content."""
        try:
            return self.digest()
        except OSError as error:
            raise InputError(f"cannot read {self.name} ({error.strerror or error}): check its permissions.") from error

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[pa.Array]:
        """Yield all rows in the order of the file, as Arrow arrays of at most `batch_rows` strings or nulls.

        Raises InputError where a row cannot be read, or if the corpus changed since it was opened.
        """
        rows = 0
        for batch in self.read(batch_rows):
            rows += len(batch)
            yield batch
        require(rows == self.rows, f"{self.name} changed while it was read ({self.rows} rows, now {rows}): run again.")

    def take(self, row_ids_R: NDArray[Any]) -> Iterator[tuple[NDArray[np.int64], pa.Array]]:
        """Yield the wanted rows in the order of the file, as pairs of (their positions in row_ids_R, their texts).

        Memory is that of a batch and some 12 bytes a row of a window; row_ids_R is searched once for each window.
        """
        window = max(WINDOW_ROWS, self.rows // WINDOWS)
        first, known, left = 0, 0, len(row_ids_R)
        for batch in self.batches():
            end = first + len(batch)
            # 1 at the end of a window, find the wanted rows of the next, sorted by row id
            if end > known:
                known = max(end, first + window)
                position_W = _wanted(row_ids_R, first, known)
                row_id_W = row_ids_R[position_W]
            # 2 the wanted rows of this batch are neighbours among those of the window
            low, high = np.searchsorted(row_id_W, (first, end))
            if high > low:
                yield position_W[low:high], batch.take(pa.array(row_id_W[low:high] - first))
            first, left = end, left - int(high - low)
            if not left:
                return

    def texts(self, row_ids_R: NDArray[Any]) -> Iterator[str]:
        """Yield the texts of the wanted rows that are not null, in the order of the file."""
        for _, texts in self.take(row_ids_R):
            yield from (text for text in texts.to_pylist() if text is not None)


def open_corpus(config: CorpusConfig) -> Corpus:
    """Open a column of text rows: "builtin", a path or a pattern on disk, or a hub id, looked for in this order.

    config (trainable.config.CorpusConfig): only `source`, `revision`, `split` and `column` are used. Only the metadata
    of parquet files is read now, but all of other files.
    `corpus.rows` is the number of rows, empty ones included; `corpus.texts(row_ids)` yields the texts of some rows;
    `corpus.fingerprint` stands for the content of all rows.
    Raises InputError if the source is missing, of an unknown kind, damaged or empty, or has no such split or column of
    text.
    """
    source = _row_source(config)
    require(source.rows > 0, f"{config.source} has no rows: give a corpus with text.")
    return Corpus(
        name=config.source,
        column=config.column,
        rows=source.rows,
        demonstration=config.source == BUILTIN,
        digest=source.fingerprint,
        read=source.read,
        split=source.split,
        notes=source.notes,
    )


def _wanted(row_ids_R: NDArray[Any], first: int, end: int) -> NDArray[np.int64]:
    """Positions in row_ids_R of the row ids from `first` up to but not including `end`, sorted by row id."""
    found = [np.zeros(0, np.int64)]
    for scanned in range(0, len(row_ids_R), SCAN_ROWS):
        some = row_ids_R[scanned : scanned + SCAN_ROWS]
        found.append(np.flatnonzero((some >= first) & (some < end)) + scanned)
    position_W = np.concatenate(found)
    return position_W[np.argsort(row_ids_R[position_W])]


def _row_source(config: CorpusConfig) -> RowSource:
    if config.source == BUILTIN:
        require(config.column == "text", f"the built-in corpus has no column {config.column!r}: use the column 'text'.")
        _require_no_split(config)
        return open_text([BUILTIN_FILE])
    path = user_path(config.source)
    is_pattern = glob.has_magic(config.source)
    if config.source and (path.exists() or is_pattern):
        require(
            config.revision is None,
            f"corpus.revision is {config.revision!r} but {config.source} is on disk: leave it out, or give a hub id.",
        )
        try:
            return _open_path(path, config)
        except OSError as error:
            raise InputError(
                f"cannot read {error.filename or path} ({error.strerror or error}): check its permissions."
            ) from error
    is_path = form_of(path) is not None or not is_hub_id(config.source)
    require(
        not is_path, f"{config.source!r} does not exist: set corpus.source to an existing file, a hub id, or builtin."
    )
    return open_hub(config.source, config.revision, config.column, config.split)


def _open_path(path: Path, config: CorpusConfig) -> RowSource:
    """Open the rows of a file, a folder, or else a pattern."""
    if path.is_dir() and any((path / mark).is_file() for mark in SAVED_MARKS):
        return open_saved(path, config.column, config.split)
    if not path.exists() or path.is_dir():
        found = folder_files(path, config.split) if path.is_dir() else pattern_files(path, config.split)
        source = _open_files(found.form, found.paths, config.column)
        return source._replace(split=found.split, notes=(*found.notes, *source.notes))
    require(path.is_file(), f"{path} is a pipe or a device, which can be read only once: {KNOWN}.")
    _require_no_split(config)
    form = form_of(path)
    if form is None:
        raise InputError(f"{path} has the unknown ending {''.join(path.suffixes[-2:])!r}: {KNOWN}.")
    return _open_files(form, [path], config.column)


def _open_files(form: str, paths: Sequence[Path], column: str) -> RowSource:
    if form == PARQUET:
        return open_parquet(paths, column)
    if form in (CSV, TSV):
        return open_csv(paths, form, column)
    return {JSONL: open_jsonl, LINES: open_text}[form](paths, column)


def _require_no_split(config: CorpusConfig) -> None:
    require(
        config.split in (TRAIN, ALL),
        f"corpus.split is {config.split!r} but {config.source} has no splits: leave it out.",
    )
