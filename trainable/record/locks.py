"""Locks that fall with the process that holds them; on a file system that has none, a marker file in their place.

A marker outlives a process that is killed. On its own machine that is noticed; the marker of another machine stays
until somebody deletes it, so whoever meets one hears of machine and file.
"""

import errno
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

MARKER_ENDING = ".held"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # NFS without its lock daemon; FUSE
_KERNEL_LOCKS = Path("/proc/locks")  # Linux
_log = logging.getLogger(__name__)


class InUse(Exception):
    """A lock that another process holds: its file, and process and machine where a marker file tells them."""

    def __init__(self, path: Path, process: str, machine: str):
        super().__init__(path, process, machine)
        self.path, self.process, self.machine = path, process, machine

    @property
    def advice(self) -> str:
        """What to do, to follow a colon in a sentence."""
        if not self.machine:
            return "wait for it to end"
        return (
            f"process {self.process} of machine {self.machine} says so in {self.path}; wait for it to end, or delete "
            "that file if it runs there no more"
        )


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock in the block, after waiting for it. Raises OSError where the file cannot be made."""
    try:
        lock = try_lock(path)
    except InUse as other:
        if other.machine:  # it may be there for ever
            _log.warning("%s is in use: %s.", path, other.advice)
        lock = _acquired(path, timeout=-1)
    try:
        yield
    finally:
        lock.release()


def try_lock(path: Path) -> BaseFileLock:
    """The lock, taken now. Raises InUse where another process holds it, OSError where the file cannot be made."""
    try:
        return _acquired(path, timeout=0)
    except Timeout as refused:
        raise _in_use(Path(refused.lock_file)) from None


def is_held(path: Path) -> bool | None:
    """Whether a process holds the lock, told without taking it; None where the system does not tell."""
    if path.with_name(path.name + MARKER_ENDING).exists():
        return True
    try:
        inode = path.stat().st_ino
        held_files = _KERNEL_LOCKS.read_text().splitlines()
    except FileNotFoundError:
        return None if path.exists() else False  # the kernel keeps no such list, or the run was never locked
    # A line is "1: FLOCK ADVISORY WRITE <process> <device>:<inode> 0 EOF"; waiting processes have "->" in it.
    return any(line.split()[-3].endswith(f":{inode}") for line in held_files if "->" not in line)


def remove_lock(path: Path) -> None:
    """Remove what a lock leaves behind; for one who holds it."""
    for file in (path, path.with_name(path.name + MARKER_ENDING)):
        file.unlink(missing_ok=True)


def _acquired(path: Path, timeout: float) -> BaseFileLock:
    lock: BaseFileLock = FileLock(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # it says that it falls back to a marker
            lock.acquire(timeout=timeout)
    except Timeout:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        lock = SoftFileLock(path.with_name(path.name + MARKER_ENDING))  # a file of its own: ours is there by now
        lock.acquire(timeout=timeout)
    return lock


def _in_use(path: Path) -> InUse:
    """A marker holds the number of its process and the name of its machine, a line each; a lock's file nothing."""
    lines: list[str] = []
    with suppress(OSError, UnicodeDecodeError):
        lines = path.read_text(encoding="utf-8").splitlines()
    process, machine = lines[:2] if len(lines) >= 2 and lines[0].isdigit() else ("", "")
    return InUse(path, process, machine)
