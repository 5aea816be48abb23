"""What reading a whole file has found is kept until the file changes: a corpus is hashed once, not once a run.

A file is known again by its path, number, size and times (as git and make know files): whatever writes to it changes
one of them. It is trusted only if its last change was some time before it was read, for a file system's clock may stand
still between two changes. Kept in this process, and of large files in the cache too; where that cannot be written, the
next run reads them again.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainable.errors import InputError
from trainable.record.cache import cache_folder
from trainable.record.files import fingerprint, read_json, sha256_of_file, write_json

SETTLED_SECONDS = 2.0  # after its last change a file may be trusted to have another time if it changes again
LARGE_BYTES = 1 << 24  # a smaller file is read again in a moment
_kept: dict[str, dict[str, Any]] = {}  # in this process


def found_once(path: Path, what: Sequence[str], look: Callable[[], Any]) -> Any:
    """What `look` finds in a file, a JSON value: sought now, or kept since the file last changed.

    what: names what is sought. Raises OSError for a file that is not there, and what `look` raises.
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
    """What the cache keeps; nothing where there is none, or where it is damaged."""
    with suppress(InputError, OSError, RuntimeError):  # the last where there is no home folder
        return read_json(cache_folder() / "files" / f"{key}.json")
    return {}


def _write(key: str, known: dict[str, Any]) -> None:
    with suppress(OSError, RuntimeError):
        write_json(cache_folder() / "files" / f"{key}.json", known)


def sha256_once(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest: str = found_once(path, ["sha256"], lambda: sha256_of_file(path))
    return digest


def _stamp(path: Path) -> dict[str, int]:
    """Equal for a file that nobody has written to since."""
    status = path.stat()
    return {
        "number": status.st_ino,
        "bytes": status.st_size,
        "changed_ns": status.st_mtime_ns,
        "status_ns": status.st_ctime_ns,
    }
