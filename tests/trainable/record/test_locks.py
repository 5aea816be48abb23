"""Locks of files; on a file system without locks, a marker file replaces a lock and names its owner."""

import errno
import fcntl
import logging
import os
import socket
import threading
from pathlib import Path

import pytest

from trainable.record.locks import MARKER_ENDING, InUse, held, is_held, remove_lock, try_lock


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=lambda number: errno.errorcode[number])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without a lock service."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def other_machines(path: Path) -> Path:
    """Write the marker of a process on another machine, as on a file system without locks."""
    marker = path.with_name(path.name + MARKER_ENDING)
    marker.write_text("4321\nfar-away\n")
    return marker


def test_a_lock_is_held_until_it_is_released(tmp_path: Path) -> None:
    lock = try_lock(tmp_path / "lock")
    with pytest.raises(InUse) as refused:
        try_lock(tmp_path / "lock")
    assert (refused.value.machine, refused.value.advice) == ("", "wait for it to end")
    lock.release()
    try_lock(tmp_path / "lock").release()


@pytest.mark.usefixtures("no_locks")
def test_without_a_lock_service_a_marker_refuses_a_second_lock_and_names_its_owner(tmp_path: Path) -> None:
    lock = try_lock(tmp_path / "lock")
    with pytest.raises(InUse) as refused:
        try_lock(tmp_path / "lock")
    assert (refused.value.process, refused.value.machine) == (str(os.getpid()), socket.gethostname())
    lock.release()
    try_lock(tmp_path / "lock").release()


def test_a_marker_of_another_machine_is_named_with_the_file_to_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    marker = other_machines(tmp_path / "lock")
    with pytest.raises(InUse) as refused:
        try_lock(tmp_path / "lock")
    assert refused.value.advice == (
        f"process 4321 on machine far-away holds it, says the file {marker}; wait for that process to end, or delete "
        "the file if the process no longer runs"
    )
    marker.unlink()
    try_lock(tmp_path / "lock").release()


def test_a_wait_for_another_machine_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    marker = other_machines(tmp_path / "lock")
    threading.Timer(0.2, marker.unlink).start()
    with caplog.at_level(logging.WARNING), held(tmp_path / "lock"):
        assert "process 4321 on machine far-away" in caplog.text and str(marker) in caplog.text


def test_other_errors_of_the_file_system_are_raised_to_the_caller(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        try_lock(tmp_path / "file" / "lock")


def test_remove_lock_leaves_no_file(tmp_path: Path) -> None:
    lock = try_lock(tmp_path / "lock")
    remove_lock(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []
    lock.release()


def test_is_held_says_whether_a_lock_is_held_without_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert is_held(path) is False
    with held(path):
        assert is_held(path) is True
    assert path.exists() and is_held(path) is False
    other_machines(path)
    assert is_held(path) is True


def test_is_held_gives_none_on_a_system_that_does_not_list_its_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainable.record.locks._KERNEL_LOCKS", tmp_path / "absent")
    with held(tmp_path / "lock"):
        assert is_held(tmp_path / "lock") is None
