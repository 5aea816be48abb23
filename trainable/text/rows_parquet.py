"""Rows of parquet files: one file, or all the parquet files of a folder in the order of their names.

Read with pyarrow alone, a row group at a time, so that a machine without `datasets` can use them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trainable.errors import InputError
from trainable.record.files import fingerprint, sha256_of_file
from trainable.text.rows import RowSource, checked_texts, require_text_column

BUFFER_BYTES = 1 << 16  # read at once: whole row groups read ahead took 60 MiB more and no less time


def open_parquet(paths: Sequence[Path], column: str) -> RowSource:
    """The text column of the files, one after the other.

    Raises InputError for a file that is no parquet file, lacks the column, or holds something else than text in it.
    """
    rows = 0
    for path in paths:
        with _opened(path) as file:
            require_text_column(file.schema_arrow, column, path)
            rows += int(file.metadata.num_rows)

    def read(batch_rows: int) -> Iterator[pa.Array]:
        for path in paths:
            with _opened(path) as file:
                batches = file.iter_batches(batch_rows, columns=[column])
                yield from checked_texts((batch.column(0) for batch in batches), path)

    return RowSource(rows, lambda: fingerprint(["parquet", [sha256_of_file(path) for path in paths]]), read)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{path} is not a whole parquet file ({reason}): download or write it again.") from error
