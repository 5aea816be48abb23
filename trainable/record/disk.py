"""Room on a file system: asked for before it is needed, and told in a sentence when it is gone."""

import errno
import shutil
from pathlib import Path

from trainable.errors import InputError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
MIB = 2**20


def is_disk_full(error: OSError) -> bool:
    """Whether the file system takes no more: full, over quota, or read-only."""
    return error.errno in _NO_ROOM


def free_bytes(path: Path) -> int:
    """On the file system of `path`, or of its nearest parent that exists."""
    return shutil.disk_usage(next(p for p in (path, *path.absolute().parents) if p.exists())).free


def require_room(path: Path, needed_bytes: float, what: str, remedy: str) -> None:
    """Raise InputError unless the file system of `path` has room for `what` (a plural)."""
    free = free_bytes(path)
    if free < needed_bytes:
        raise InputError(f"{path} has {mib(free)} MiB free but {what} need about {mib(needed_bytes)} MiB: {remedy}.")


def mib(size: float) -> str:
    """A size in MiB, with a digit after the point where it is small."""
    return f"{size / MIB:,.1f}" if size < 10 * MIB else f"{size / MIB:,.0f}"
