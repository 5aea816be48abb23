"""Rows of parquet files, one after the other.

Read with pyarrow alone, some rows at a time, so that a machine without `datasets` can use them, and rows of any length
in bounded memory.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trainable.errors import InputError
from trainable.record.files import fingerprint, require_fetched, sha256_of_file
from trainable.text.sources.rows import BATCH_BYTES, RowSource, checked_texts, copies_note, require_text_column

BUFFER_BYTES = 1 << 16  # read at once: whole row groups read ahead took 60 MiB more and no less time
STEP_ROWS = 256  # at most at once, for only the mean length is known before; 8,192 short rows at once were no faster


def open_parquet(paths: Sequence[Path], column: str) -> RowSource:
    """The text column of the files, one after the other.

    Raises InputError for a file that is no parquet file, lacks the column, or holds something else than text in it. A
    column without a type, which writers give to a shard of nulls, is null rows if another file says that it is text.
    """
    rows, steps, schemas, notes = 0, [], [], []
    of_size: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        with _opened(path) as file:
            schemas.append(file.schema_arrow)
            rows += int(file.metadata.num_rows)
            if file.metadata.num_rows:
                of_size[path.stat().st_size].append(path)
            steps.append(_step_rows(file, column))
            if sum(name == column for name in _leaves(file)) > 1:
                notes = [f"column {column!r} is the one of that name, not a field of {column.partition('.')[0]!r}"]
    require_text_column(schemas, column, paths)
    alike = [path for same in of_size.values() if len(same) > 1 for path in same]
    notes += copies_note((path, sha256_of_file(path)) for path in alike)

    def read(batch_rows: int) -> Iterator[pa.Array]:
        for path, step in zip(paths, steps, strict=True):
            with _opened(path) as file:
                batches = file.iter_batches(min(batch_rows, step), columns=[column])
                # a struct with a field of the same dotted name is among the columns
                yield from checked_texts((b.column(b.schema.get_field_index(column)) for b in batches), path)

    return RowSource(
        rows, lambda: fingerprint(["parquet", [sha256_of_file(path) for path in paths]]), read, tuple(notes)
    )


def _leaves(file: pq.ParquetFile) -> list[str]:
    """The dotted name of each column that is stored."""
    return [file.schema.column(place).path for place in range(len(file.schema))]


def _step_rows(file: pq.ParquetFile, column: str) -> int:
    """How many rows to read at once: some BATCH_BYTES by the mean length of the longest row group."""
    places = [place for place, name in enumerate(_leaves(file)) if name == column]
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    mean = max(
        (group.column(place).total_uncompressed_size / max(1, group.num_rows) for group in groups for place in places),
        default=0,
    )
    return max(1, min(STEP_ROWS, int(BATCH_BYTES / (mean + 1))))


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        require_fetched(path)
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{path} is not a whole parquet file ({reason}): download or write it again.") from error
