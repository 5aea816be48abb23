"""Keep the results of reading a whole file until the file changes: a corpus is hashed once, not once a run.

A file counts as unchanged if its path, inode number, size and times are the same (as in git and make): every write
changes one of them. A result is kept only if the file's last change was some time before the reading, for a file
system's clock may stand still between two changes. Results are kept in this process, those of large files in the cache
too; if the cache cannot be written to, the next run reads these files again.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainable.errors import InputError
from trainable.record.cache import cache_folder
from trainable.record.files import fingerprint, read_json, sha256_of_file, write_json

SETTLED_SECONDS = 2.0  # so long after its last change, a further change is sure to give a file another time
LARGE_BYTES = 1 << 24  # a smaller file is read again in a moment
_kept: dict[str, dict[str, Any]] = {}  # in this process


def found_once(path: Path, what: Sequence[str], look: Callable[[], Any]) -> Any:
    """Return what `look` finds in a file, a JSON value: kept since the file last changed, or found now.

    what: names of the result. Raises OSError for a missing file, and any error of `look`.
    """
    key = fingerprint([str(path.absolute()), *what])
    stamp, began = _stamp(path), time.time()
    is_large = stamp["bytes"] >= LARGE_BYTES
    known = _kept.get(key) or (_read(key) if is_large else {})
    if known.get("stamp") != stamp:
        known = {"path": str(path), "what": list(what), "stamp": stamp, "found": look()}
        is_settled = began - max(stamp["changed_ns"], stamp["status_ns"]) / 1e9 > SETTLED_SECONDS
        if not is_settled or _stamp(path) != stamp:
            return known["found"]
        if is_large:
            _write(key, known)
    _kept[key] = known
    return known["found"]


def _read(key: str) -> dict[str, Any]:
    """Read a result from the cache; empty if it is missing or damaged."""
    with suppress(InputError, OSError, RuntimeError):  # RuntimeError: there is no home folder
        return read_json(cache_folder() / "files" / f"{key}.json")
    return {}


def _write(key: str, known: dict[str, Any]) -> None:
    with suppress(OSError, RuntimeError):
        write_json(cache_folder() / "files" / f"{key}.json", known)


def sha256_once(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, computed once until the file changes."""
    digest: str = found_once(path, ["sha256"], lambda: sha256_of_file(path))
    return digest


def _stamp(path: Path) -> dict[str, int]:
    """Inode number, size and times of a file, which stay equal until somebody writes to it."""
    status = path.stat()
    return {
        "number": status.st_ino,
        "bytes": status.st_size,
        "changed_ns": status.st_mtime_ns,
        "status_ns": status.st_ctime_ns,
    }
