"""Checks before Ray starts: open files, shared memory, CPUs, and the length of socket paths."""

import ctypes
import math
import multiprocessing
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from big_data import prepared

from sweeps.engine import preflight
from sweeps.engine.preflight import (
    FILES,
    FILES_A_WORKER,
    LONGEST_SOCKET,
    SOCKET_PATH,
    check_open_files,
    cpu_quota,
    ray_folder,
    store_bytes,
    usable_cpus,
)
from trainable.errors import InputError

ENOUGH = FILES + 2 * FILES_A_WORKER
CLONE_NEWNS = 0x20000  # flag of unshare(2): a new mount namespace


def in_a_child(work: Callable[[], Any]) -> Any:
    """Run `work` in a forked process with its own limits and mounts; return its result or its InputError as text."""
    context = multiprocessing.get_context("fork")
    parent, child = context.Pipe(duplex=False)

    def run() -> None:
        try:
            child.send(work())
        except (InputError, OSError) as error:
            child.send(error)

    process = context.Process(target=run)
    process.start()
    result = parent.recv() if parent.poll(60) else TimeoutError()
    process.join()
    if isinstance(result, PermissionError):
        pytest.skip(f"needs root for mounts of its own ({result})")
    return str(result) if isinstance(result, InputError) else result


# ---- open files --------------------------------------------------------------------------------------------------


def with_open_files(soft: int, hard: int) -> Any:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        check_open_files(2)

    return in_a_child(work)


@pytest.mark.parametrize("files", [64, ENOUGH - 1])
def test_too_few_open_files_are_refused_before_ray_starts(files: int) -> None:
    """With a limit of 64 open files Ray aborts the driver, without an exception or a message."""
    assert with_open_files(files, files) == (
        f"a process may open {files} files here but Ray needs about {ENOUGH} for 2 workers: "
        "raise the limit (ulimit -Hn 4096), or give fewer --cpus."
    )


def test_a_low_soft_limit_is_accepted_if_the_hard_limit_is_high_enough() -> None:
    assert with_open_files(64, ENOUGH) is None


# ---- shared memory -----------------------------------------------------------------------------------------------


def test_memory_that_two_arrays_of_tokens_share_is_counted_once() -> None:
    assert prepared(4).nbytes == pytest.approx(4 * 2**20, rel=0.01)


def mount(size: str, folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)


def with_shared_memory(size: str, temporary: Path | None = None) -> Any:
    """(messages, size of the object store to ask for) for 200 MiB of tokens, with a /dev/shm of the given size."""

    def work() -> tuple[list[str], int | None]:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
            raise PermissionError(os.strerror(ctypes.get_errno()))
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        mount(size, Path("/dev/shm"))
        if temporary is not None:
            mount("50m", temporary)
            tempfile.tempdir = str(temporary)
        said: list[str] = []
        return said, store_bytes(prepared(200).nbytes, said.append)

    return in_a_child(work)


def test_a_shared_memory_too_small_for_tokens_and_tables_is_reported_with_numbers_and_remedy() -> None:
    said, store = with_shared_memory("64m")
    assert store is None
    assert said[0].startswith("/dev/shm has 61 MiB but tokens and tables need 264 MiB: Ray keeps them in ")
    assert said[0].endswith("slower; enlarge /dev/shm (mount -o remount,size=1g /dev/shm; docker run --shm-size=1g).")


def test_a_small_shared_memory_is_refused_if_the_temporary_folder_has_no_room_either(tmp_path: Path) -> None:
    assert with_shared_memory("64m", temporary=tmp_path) == (
        f"{tmp_path} has 50 MiB free but tokens and tables, which /dev/shm (61 MiB) cannot hold, need about 264 MiB: "
        "enlarge /dev/shm (mount -o remount,size=1g /dev/shm; docker run --shm-size=1g)."
    )


def test_a_shared_memory_smaller_than_rays_default_but_large_enough_is_used_without_a_message() -> None:
    assert with_shared_memory("400m") == ([], int(0.95 * 400 * 2**20))


@pytest.mark.parametrize(
    ("said", "files", "cpus"),
    [
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000", "job/cpu.max": "150000 100000"}, 1.5),
        ("0::/outside/of/the/container\n", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
        (
            "3:cpu,cpuacct:/job\n2:memory:/job\n",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "400000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
            4,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("nonsense\n", {"cpu.max": "nonsense"}, math.inf),
    ],
)
def test_the_cpu_quota_is_the_smallest_of_a_control_group_and_its_parents(
    tmp_path: Path, said: str, files: dict[str, str], cpus: float
) -> None:
    for name, content in {"proc": said, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert cpu_quota(tmp_path / "proc", tmp_path) == cpus


@pytest.mark.parametrize(("bound", "quota", "cpus"), [(8, math.inf, 8), (8, 1.5, 1), (1, 4.0, 1), (4, 0.5, 1)])
def test_only_cpus_that_the_process_may_use_are_taken(
    monkeypatch: pytest.MonkeyPatch, bound: int, quota: float, cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(bound)))
    monkeypatch.setattr(preflight, "cpu_quota", lambda: quota)
    assert usable_cpus() == cpus


@pytest.mark.parametrize(("length", "moved"), [(20, False), (92, True)])
def test_a_folder_whose_path_is_too_long_for_sockets_is_replaced(
    monkeypatch: pytest.MonkeyPatch, length: int, moved: bool
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", f"/{'x' * (length - 1)}")
    folder = ray_folder()
    assert folder == (f"/tmp/ray-{os.getuid()}" if moved else None)
    assert len(f"{folder or os.environ['TMPDIR']}") + LONGEST_SOCKET <= SOCKET_PATH


def test_a_long_folder_is_refused_if_no_short_folder_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", f"/{'x' * 91}")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match=r"xx is too long for the sockets of Ray.*set RAY_TMPDIR to a folder"):
        ray_folder()
