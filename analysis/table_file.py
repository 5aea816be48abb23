"""The two tables of a run as parquet files that say when they are damaged.

Parquet has checksums of its pages but none of its footer, where one flipped bit can turn integers into floats or swap
two columns. So the footer also holds a digest of all names and values, which is taken again from what was read.
Tables without a digest (written before there was one, or by others) are read as they are.
"""

import hashlib
import json
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trainable.errors import DamagedFile
from trainable.record.files import atomic_file

_DIGEST: Final = b"sha256 of names and values"
_MEND: Final = "restore it from a copy, or make it again with python -m analysis.summary RUN where trials/ was kept"


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a table atomically."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, _DIGEST: _digest(frame)})
    with atomic_file(path) as stream:
        pq.write_table(table, stream, write_page_checksum=True)


def read_table(path: Path) -> pd.DataFrame:
    """The table in a file. Raises DamagedFile if a byte of it is not what was written."""
    try:
        said = (pq.read_schema(path).metadata or {}).get(_DIGEST)
        frame = pd.read_parquet(path, page_checksum_verification=True)
        whole = said is None or said == _digest(frame)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DamagedFile(path, reason, _MEND) from None
    if not whole:
        raise DamagedFile(path, "its checksum does not match", _MEND)
    return frame


def _digest(frame: pd.DataFrame) -> bytes:
    """Checksum of a table: the same for equal names and values, whatever library versions wrote and read them."""
    columns = pa.Table.from_pandas(frame, preserve_index=False)
    digest = hashlib.sha256(json.dumps([columns.num_rows, columns.column_names]).encode())
    for column in columns.columns:
        digest.update(json.dumps(column.to_pylist()).encode())
    return digest.hexdigest().encode()
