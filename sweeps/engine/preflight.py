"""Check what Ray needs of the machine before it starts: open files, shared memory.

Without this, a low limit of open files aborts the driver inside Ray without a word, and a small /dev/shm silently moves
tokens and tables to the disk. Imports nothing heavy, for it comes first of all; room.py checks the disk.
"""

import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from trainable.errors import InputError
from trainable.record.files import MIB, free_bytes, mib, require_room

# Measured with 2 and 8 workers: raylet 63 and 87 open files, GCS 67 and 73, a worker 42; at 64 the driver is aborted.
FILES, FILES_A_WORKER = 128, 8
SHARED_MEMORY = Path("/dev/shm")
STORE_MARGIN = 64 * MIB  # for Tune's own objects, and Ray's smallest store is 75 MiB
RAYS_SHARE = 0.3  # of the memory, which Ray takes for its store


def check_open_files(workers: int) -> None:
    """Raise InputError where Ray cannot open the files that it needs; it raises the soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FILES + FILES_A_WORKER * workers
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise InputError(
            f"a process may open {hard} files here but Ray needs about {needed} for {workers} workers: "
            "raise the limit (ulimit -Hn 4096), or give fewer --cpus."
        )


def shared_memory_is_ample() -> bool:
    """Whether /dev/shm has room for as large an object store as Ray likes, or does not matter."""
    if not sys.platform.startswith("linux"):
        return True
    likes = RAYS_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return _free_shared_memory() >= likes


def store_bytes(data_bytes: int, say: Callable[[str], None]) -> int | None:
    """How large an object store to ask Ray for, given what is put there; None: as large as Ray likes.

    A /dev/shm smaller than Ray likes makes it use files in the folder for temporary files instead, which is slower; so
    it is asked for less where that suffices. Raises InputError where neither has room.
    """
    if shared_memory_is_ample():
        return None
    needed, free = data_bytes + STORE_MARGIN, _free_shared_memory()
    if free >= max(needed, 100 * MIB):
        return free
    elsewhere = Path(tempfile.gettempdir())
    remedy = f"enlarge {SHARED_MEMORY} (mount -o remount,size=1g /dev/shm; docker run --shm-size=1g)"
    require_room(elsewhere, needed, f"tokens and tables, which {SHARED_MEMORY} ({mib(free)} MiB) cannot hold,", remedy)
    wanted = mib(max(needed, 100 * MIB))
    say(
        f"{SHARED_MEMORY} has {mib(free)} MiB but tokens and tables need {wanted} MiB: Ray keeps them in {elsewhere}, "
        f"which is slower; {remedy}."
    )
    return None


def _free_shared_memory() -> int:
    return int(0.95 * free_bytes(SHARED_MEMORY))
