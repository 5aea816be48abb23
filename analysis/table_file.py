"""Read and write the two tables of a run as parquet files in which damage is detected.

Parquet has checksums for its pages but not for its footer, where one flipped bit can turn integers into floats or swap
two columns. So the footer also holds a digest of all names and values, which is computed again after reading. Tables
without a digest (older ones, or those of other programs) are read without this check.
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
    """Read the table in a file. Raises DamagedFile if a byte differs from what was written."""
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
    """Digest of a table; equal for equal names and values, whatever library versions wrote and read them."""
    columns = pa.Table.from_pandas(frame, preserve_index=False)
    digest = hashlib.sha256(json.dumps([columns.num_rows, columns.column_names]).encode())
    for column in columns.columns:
        digest.update(json.dumps(column.to_pylist()).encode())
    return digest.hexdigest().encode()
