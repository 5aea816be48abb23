"""Folders that are built once and trusted only if whole: a manifest, written last, has size and checksum of each file.

Why: tokenising 74 M rows takes most of an hour, many trials need the result, and a build can be killed at any time. Of
two processes that need the same folder, one builds it and the other waits (file lock). A damaged folder is built again.
"""

import errno
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from trainable.errors import DamagedFile, InputError
from trainable.record.files import free_bytes, is_disk_full, mib, publish, read_json, sha256_of_file, write_json
from trainable.record.locks import held

Manifest = dict[str, Any]

MANIFEST_FILE = "manifest.json"
CACHE_VARIABLE = "BIGRAM_CACHE"

ROOM_HINT = f"free some space, or set {CACHE_VARIABLE} to a folder with space that you can write to"

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Folder where prepared text, tokenizers and tokens are kept: $BIGRAM_CACHE, or ~/.cache/bigram-guided."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/bigram-guided").expanduser().absolute()


def check_cache() -> None:
    """Raise InputError unless the cache can be written to; create nothing."""
    folder = cache_folder()
    with _writing(folder / "tokens", make=False):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class NotBuilt(Exception):
    """Raised within `only_what_is_built` for a folder that is not in the cache."""


_may_build = ContextVar("may build", default=True)


@contextmanager
def only_what_is_built() -> Iterator[None]:
    """Raise NotBuilt where code in the block would build a folder: for callers that ask what the cache already has."""
    before = _may_build.set(False)
    try:
        yield
    finally:
        _may_build.reset(before)


def built_once(folder: Path, build: Callable[[Path], Manifest]) -> Manifest:
    """Return the manifest of `folder`; if the folder is missing or damaged, `build` fills it first.

    build: gets an empty folder, writes files into it, and returns what the manifest should say beside the files.
    Raises InputError if the cache cannot be written to, and any error of `build`; a failed build leaves nothing behind.
    """
    if (manifest := whole(folder)) is not None:
        return manifest
    with building(folder):
        manifest = whole(folder)  # another process may have built it while this one waited
        if manifest is None:
            remove_abandoned(folder.parent, folder.name)  # we hold the lock
            manifest = build_folder(folder, build)
        return manifest


@contextmanager
def building(folder: Path) -> Iterator[None]:
    """Hold the lock that has the name of a folder, which need not exist: one process builds at a time.

    Raises NotBuilt within `only_what_is_built`, InputError for an error of the disk.
    """
    if not _may_build.get():
        raise NotBuilt(folder)
    with _writing(folder), held(folder.with_name(f"{folder.name}.lock")):
        yield


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder and check each file that it lists.

    Raises DamagedFile if a file does not have the size and SHA-256 that the manifest says, or the manifest is damaged;
    InputError if there is no manifest.
    """
    remedy = f"delete {folder} so that it is built again"
    manifest = read_json(folder / MANIFEST_FILE, remedy)
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise DamagedFile(folder / MANIFEST_FILE, "it lists no files", remedy)
    for name, expected in files.items():
        if Path(name).name != name or _stamp(folder / name, expected) != expected:
            raise DamagedFile(folder / name, "its size or checksum is not that of the manifest", remedy)
    return manifest


def _stamp(path: Path, expected: Any) -> dict[str, Any] | None:
    """Size and checksum of a file; None if it cannot be read or its size is not the expected one."""
    try:
        size = path.stat().st_size
        if isinstance(expected, dict) and expected.get("bytes") == size:
            return {"bytes": size, "sha256": sha256_of_file(path)}
    except OSError:
        pass
    return None


def whole(folder: Path) -> Manifest | None:
    """Return the manifest of a folder if it exists and no file in it is damaged, else None; log what is damaged."""
    if not folder.exists():
        return None
    try:
        return read_manifest(folder)
    except InputError as error:
        _log.warning("%s It is built again now.", error)
        return None


def remove_abandoned(parent: Path, name: str = "*") -> None:
    """Remove temporary folders that killed builds of `name` left; no other process may be building it now."""
    for abandoned in parent.glob(f".{name}.*.tmp"):
        shutil.rmtree(abandoned, ignore_errors=True)


def build_folder(folder: Path, build: Callable[[Path], Manifest]) -> Manifest:
    """Build a folder as `built_once` does, but always anew and without a lock; its parent folder must exist.

    No other process may build the same folder meanwhile.
    """
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        manifest = _filled(temporary, folder, build)
        manifest["files"] = {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
            for path in sorted(temporary.iterdir())
        }
        write_json(temporary / MANIFEST_FILE, manifest)
        if folder.exists():
            shutil.rmtree(folder)
        publish(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def _filled(temporary: Path, folder: Path, build: Callable[[Path], Manifest]) -> Manifest:
    try:
        return build(temporary)
    except OSError as error:
        if not is_disk_full(error):
            raise
        written = sum(path.stat().st_size for path in temporary.iterdir())
        raise InputError(
            f"{folder} needs more than the {mib(written)} MiB that were written, and {mib(free_bytes(folder))} MiB are "
            f"free ({error.strerror}): {ROOM_HINT}."
        ) from error


@contextmanager
def _writing(folder: Path, *, make: bool = True) -> Iterator[None]:
    """Turn an OSError of the block into an InputError that names the folder and the free space."""
    try:
        if make:
            folder.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {folder} ({error.strerror or error}; {mib(free_bytes(folder))} MiB are free): {ROOM_HINT}."
        ) from error
