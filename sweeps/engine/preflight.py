"""Find what the machine has for Ray before Ray starts: CPUs, open files, shared memory, a folder for sockets.

Without these checks, a low limit of open files aborts the driver inside Ray without a message, a small /dev/shm moves
tokens and tables to the disk without a message, and Ray takes all CPUs of the machine even if a scheduler gave this
process one. The module imports nothing heavy, because it is used first; room.py checks the disk.
"""

import math
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
SOCKET_PATH = 107  # longest path of a socket in bytes (sun_path without its final zero)
LONGEST_SOCKET = len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store") + 4  # a suffix
SHARED_MEMORY = Path("/dev/shm")
STORE_MARGIN = 64 * MIB  # for Tune's own objects; Ray's smallest store is 75 MiB
RAYS_SHARE = 0.3  # share of the machine's memory that Ray takes for its object store


def usable_cpus() -> int:
    """CPUs that this process may use: those it is bound to (taskset, SLURM), at most its control group's quota."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(bound, cpu_quota())))


def cpu_quota(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """CPUs that the control groups of this process allow (docker run --cpus=1.5); infinite without a limit."""
    try:
        lines = [line.split(":", 2) for line in proc.read_text().splitlines()]
    except OSError:
        return math.inf
    found = [math.inf]
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / controllers if controllers else root  # version 1 has a folder for them, version 2 has no names
        inside = Path(path.lstrip("/"))
        # In a container the group is at the top, whatever path it has outside.
        found += [_group_quota(group) for group in {top, *(top / part for part in (inside, *inside.parents))}]
    return min(found)


def _group_quota(group: Path) -> float:
    """CPUs that one control group allows."""
    try:
        if (group / "cpu.max").exists():  # version 2: "150000 100000", or "max 100000"
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{part}_us").read_text().strip() for part in ("quota", "period"))
        return math.inf if quota == "max" or float(quota) <= 0 else float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def ray_folder() -> str | None:
    """Folder for Ray's session; None: the folder that Ray takes by itself, where socket paths are short enough.

    Raises InputError if they are too long there, and no folder with a short name can be written.
    """
    taken = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # as Ray chooses it on Linux
    if len(os.fsencode(taken)) + LONGEST_SOCKET <= SOCKET_PATH:
        return None
    for short in ("/tmp", "/var/tmp", "/dev/shm"):
        if os.access(short, os.W_OK | os.X_OK):
            return f"{short}/ray-{os.getuid()}"
    raise InputError(
        f"{taken} is too long for the sockets of Ray, whose paths may have {SOCKET_PATH} bytes, and /tmp cannot be "
        "written: set RAY_TMPDIR to a folder with a short name."
    )


def check_open_files(workers: int) -> None:
    """Raise InputError if Ray cannot open enough files; it raises the soft limit of open files to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FILES + FILES_A_WORKER * workers
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise InputError(
            f"a process may open {hard} files here but Ray needs about {needed} for {workers} workers: "
            "raise the limit (ulimit -Hn 4096), or give fewer --cpus."
        )


def shared_memory_is_ample() -> bool:
    """Whether /dev/shm has room for the object store that Ray makes by default; True where Ray does not use it."""
    if not sys.platform.startswith("linux"):
        return True
    likes = RAYS_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return _free_shared_memory() >= likes


def store_bytes(data_bytes: int, say: Callable[[str], None]) -> int | None:
    """Size in bytes of the object store to ask Ray for, given the bytes of data to store; None: Ray's default.

    If /dev/shm is smaller than Ray's default store, Ray uses files in the folder for temporary files, which is slower.
    So a smaller store is asked for if it is enough. Raises InputError if neither place has room.
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
