"""Read rows of parquet files, one file after the other.

Only pyarrow is needed, so a machine without `datasets` can read them. Memory is bounded, whatever the rows:
- At most BATCH_BYTES of text are decoded at once, or one longer row. Their page is also held in memory, for Parquet
  packs a page as a whole (parquet_pages.py).
- pyarrow has no limit in bytes: it is given a number of rows that keeps to this limit.
- A page may itself be longer than BATCH_BYTES: pyarrow puts up to 1,024 rows into one, DuckDB 100 MB. Its rows are
  taken to have its mean size; if they differ, at worst as much as two pages hold is decoded at once.

Shapes: P pages of a chunk, S steps in which its rows are read.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainable.errors import InputError
from trainable.record.files import fingerprint, require_fetched
from trainable.text.sources.found import sha256_once
from trainable.text.sources.parquet_pages import Page, pages
from trainable.text.sources.rows import BATCH_BYTES, TEXT, RowSource, checked_texts, copies_note, require_text_column

BUFFER_BYTES = 1 << 16  # read at once: to read whole row groups ahead took 60 MiB more and was not faster
STEP_ROWS = 256  # rows decoded at once, at most: 8,192 short rows at once were not faster


def open_parquet(paths: Sequence[Path], column: str) -> RowSource:
    """Open the text column of the files, one file after the other.

    Raises InputError for a file that is not a parquet file, lacks the column, or holds something else than text in it.
    A column without a type, as writers give it to a shard of nulls, gives null rows if it is text in another file.
    """
    rows, schemas, notes = 0, [], []
    of_size: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        with _opened(path) as file:
            schemas.append(file.schema_arrow)
            rows += int(file.metadata.num_rows)
            if file.metadata.num_rows:
                of_size[path.stat().st_size].append(path)
            if _leaves(file).count(column) > 1:
                notes = [f"column {column!r} is the one of that name, not a field of {column.partition('.')[0]!r}"]
    require_text_column(schemas, column, paths)
    hashed = cache(sha256_once)
    alike = [path for same in of_size.values() if len(same) > 1 for path in same]
    notes += copies_note((path, hashed(path)) for path in alike)

    def read(batch_rows: int) -> Iterator[pa.Array]:
        for path in paths:
            with _opened(path) as file:
                yield from checked_texts(_decoded(file, path, column, batch_rows), path)

    return RowSource(rows, lambda: fingerprint(["parquet", [hashed(path) for path in paths]]), read, tuple(notes))


def _decoded(file: pq.ParquetFile, path: Path, column: str, batch_rows: int) -> Iterator[pa.Array]:
    """Yield the column in the order of the file, as many rows at once as are sure to keep to BATCH_BYTES."""
    leaves = _leaves(file)
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        if not group.num_rows:
            continue
        longest_entry = cache(partial(_longest_entry, path, column, number, group.total_byte_size))
        with open(path, "rb") as stream:
            chunks = [group.column(place) for place, name in enumerate(leaves) if name == column]
            steps = [_step_rows(pages(stream, chunk, longest_entry)) for chunk in chunks]
        for batch in file.iter_batches(min(batch_rows, *steps), row_groups=[number], columns=[column]):
            # a struct with a field of the same dotted name is among the columns
            yield batch.column(batch.schema.get_field_index(column))


def _step_rows(found: Sequence[Page]) -> int:
    """Number of rows of a chunk to read at once, so that no step has more than BATCH_BYTES; at least 1."""
    end_P = np.cumsum([page.rows for page in found])
    step = STEP_ROWS
    while step > 1:
        most_P = np.cumsum([0, *(min(page.nbytes, step * _of_a_row(page)) for page in found)])
        first_S = np.arange(0, end_P[-1], step)
        last_S = np.minimum(first_S + step, end_P[-1]) - 1
        before_S, page_S = (np.searchsorted(end_P, row_S, side="right") for row_S in (first_S, last_S))
        if (most_P[page_S + 1] - most_P[before_S] <= BATCH_BYTES).all():
            break
        step //= 2
    return step


def _of_a_row(page: Page) -> int:
    """Bytes to expect of a row: the most that it can have, or the mean if the page is longer than BATCH_BYTES."""
    return page.longest if page.nbytes <= BATCH_BYTES else -(-page.nbytes // max(1, page.rows))


def _longest_entry(path: Path, column: str, group: int, otherwise: int) -> int:
    """Bytes of the longest text in a chunk's dictionary, which is read with the chunk's first row.

    otherwise: the answer if the chunk has no dictionary.
    """
    with _opened(path, read_dictionary=[column]) as file:
        batch = next(file.iter_batches(1, row_groups=[group], columns=[column]))
        texts = batch.column(batch.schema.get_field_index(column))
        if not pa.types.is_dictionary(texts.type):
            return otherwise
        return pc.max(pc.binary_length(texts.dictionary.cast(TEXT))).as_py() or 0


def _leaves(file: pq.ParquetFile) -> list[str]:
    """Dotted name of each column that is stored."""
    return [file.schema.column(place).path for place in range(len(file.schema))]


@contextmanager
def _opened(path: Path, **options: Any) -> Iterator[pq.ParquetFile]:
    try:
        require_fetched(path)
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES, **options) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{path} is not a whole parquet file ({reason}): download or write it again.") from error
