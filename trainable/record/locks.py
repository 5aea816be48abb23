"""Locks that end with the process that holds them; a file system without locks gets a marker file instead.

A marker stays behind if its process is killed. On the machine of that process this is noticed. The marker of another
machine stays until somebody deletes it, so messages name the machine and the file.
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
    """Raised for a lock that another process holds: its file, and the process and machine if a marker names them."""

    def __init__(self, path: Path, process: str, machine: str):
        super().__init__(path, process, machine)
        self.path, self.process, self.machine = path, process, machine

    @property
    def advice(self) -> str:
        """Advice to the user, worded to follow a colon."""
        if not self.machine:
            return "wait for it to end"
        return (
            f"process {self.process} on machine {self.machine} holds it, says the file {self.path}; wait for that "
            "process to end, or delete the file if the process no longer runs"
        )


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait for the lock and hold it in the block. Raises OSError if its file cannot be created."""
    try:
        lock = try_lock(path)
    except InUse as other:
        if other.machine:  # its marker may stay for ever
            _log.warning("%s is in use: %s.", path, other.advice)
        lock = _acquired(path, timeout=-1)
    try:
        yield
    finally:
        lock.release()


def try_lock(path: Path) -> BaseFileLock:
    """Take the lock at once and return it. Raises InUse if another process holds it, OSError if it cannot be made."""
    try:
        return _acquired(path, timeout=0)
    except Timeout as refused:
        raise _in_use(Path(refused.lock_file)) from None


def is_held(path: Path) -> bool | None:
    """Whether a process holds the lock, found out without taking it; None where the system does not say."""
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
    """Remove the files of a lock; only the process that holds it may call this."""
    for file in (path, path.with_name(path.name + MARKER_ENDING)):
        file.unlink(missing_ok=True)


def _acquired(path: Path, timeout: float) -> BaseFileLock:
    lock: BaseFileLock = FileLock(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # filelock warns when it falls back to a marker
            lock.acquire(timeout=timeout)
    except Timeout:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        lock = SoftFileLock(path.with_name(path.name + MARKER_ENDING))  # another name: `path` exists by now
        lock.acquire(timeout=timeout)
    return lock


def _in_use(path: Path) -> InUse:
    """Make InUse of a file: a marker holds a process number and a machine name, a line each; a lock's file is empty."""
    lines: list[str] = []
    with suppress(OSError, UnicodeDecodeError):
        lines = path.read_text(encoding="utf-8").splitlines()
    process, machine = lines[:2] if len(lines) >= 2 and lines[0].isdigit() else ("", "")
    return InUse(path, process, machine)
