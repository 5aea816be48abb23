"""Folders that are built once and trusted only whole: a manifest, written last, holds size and checksum of each file.

Why: tokenising 74 M rows takes the better part of an hour, many trials want the result, and a build can be killed at
any time. Two processes that want the same folder build it once (file lock); a damaged folder is built again.
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
    """Where prepared text, tokenizers and tokens are kept: $BIGRAM_CACHE, or ~/.cache/bigram-guided."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/bigram-guided").expanduser().absolute()


def check_cache() -> None:
    """Raise InputError unless the cache can be written; nothing is made."""
    folder = cache_folder()
    with _writing(folder / "tokens", make=False):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class NotBuilt(Exception):
    """A folder is not in the cache, within `only_what_is_built`."""


_may_build = ContextVar("may build", default=True)


@contextmanager
def only_what_is_built() -> Iterator[None]:
    """Raise NotBuilt within this block where a folder would be built: for those who ask what a run finds ready."""
    before = _may_build.set(False)
    try:
        yield
    finally:
        _may_build.reset(before)


def built_once(folder: Path, build: Callable[[Path], Manifest]) -> Manifest:
    """The manifest of `folder`, which `build` fills first if it is missing or damaged.

    `build` gets an empty folder, writes files into it and returns what the manifest should say beside the files.
    Raises InputError if the cache cannot be written, and whatever `build` raises; neither leaves anything behind.
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
    """Hold the lock of a folder, there or not, while what goes by its name is built; one process at a time.

    Raises NotBuilt within `only_what_is_built`, InputError for what goes wrong with the disk.
    """
    if not _may_build.get():
        raise NotBuilt(folder)
    with _writing(folder), held(folder.with_name(f"{folder.name}.lock")):
        yield


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder, after a check of each file that it lists.

    Raises DamagedFile where a file has not the size and SHA-256 that the manifest says, or the manifest is damaged;
    InputError where there is none.
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
    """Size and checksum of a file; no checksum where the size is already wrong."""
    try:
        size = path.stat().st_size
        if isinstance(expected, dict) and expected.get("bytes") == size:
            return {"bytes": size, "sha256": sha256_of_file(path)}
    except OSError:
        pass
    return None


def whole(folder: Path) -> Manifest | None:
    """The manifest of a folder that is there and whole, else None; a damaged one is named in the log."""
    if not folder.exists():
        return None
    try:
        return read_manifest(folder)
    except InputError as error:
        _log.warning("%s It is built again now.", error)
        return None


def remove_abandoned(parent: Path, name: str = "*") -> None:
    """Remove what killed builds left of a folder, or of all; for one who alone builds there."""
    for abandoned in parent.glob(f".{name}.*.tmp"):
        shutil.rmtree(abandoned, ignore_errors=True)


def build_folder(folder: Path, build: Callable[[Path], Manifest]) -> Manifest:
    """Fill a folder as `built_once` does, always anew and without a lock, in a parent folder that exists.

    For one who works there alone.
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
    """Raise InputError, which names the folder and the room left, for what goes wrong with the disk."""
    try:
        if make:
            folder.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {folder} ({error.strerror or error}; {mib(free_bytes(folder))} MiB are free): {ROOM_HINT}."
        ) from error
