"""Files that are whole or absent: written under a temporary name, synced, then renamed.

Two writers never share a temporary name, and a reader never sees half a file. JSON files written here carry a checksum
of their content: a flipped digit is still valid JSON, and would otherwise become a wrong number. The functions come in
this order: writing, JSON, checksums, paths that a user gives, free space on the disk.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from trainable.errors import DamagedFile, InputError

CHECKSUM: Final = "checksum"  # the field that `sealed` adds
_FOLDER_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,99}")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
MIB = 2**20


@contextmanager
def atomic_file(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file that becomes `path` if the block ends without an error, and is removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        # A path may hold bytes that are not text (names made elsewhere): escaped as \\udc.., they cannot end a report.
        encoding, errors = (None, None) if "b" in mode else ("utf-8", "backslashreplace")
        with open(temporary, mode, encoding=encoding, errors=errors) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def join_files(parts: Iterable[Path], path: Path) -> None:
    """Write the bytes of all parts, end to end, to `path`."""
    with open(path, "wb") as whole:
        for part in parts:
            with open(part, "rb") as stream:
                shutil.copyfileobj(stream, whole)


def publish(temporary: Path, path: Path) -> None:
    """Rename a finished file or folder to its final name, and make the rename itself durable."""
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as indented JSON with a checksum, atomically. NaN is refused: it is not JSON."""
    with atomic_file(path, "w") as stream:
        json.dump(sealed(value), stream, indent=2, allow_nan=False)
        stream.write("\n")


def read_json(path: Path, instead: str = "") -> dict[str, Any]:
    """Read a file that `write_json` wrote, and return it without its checksum.

    instead: what a user can do who has no copy of the file, for the error message.
    Raises DamagedFile if the file is not JSON or does not match its checksum, InputError if it is missing.
    """
    remedy = f"restore it from a copy{instead and f', or {instead}'}"
    plain = unsealed(_read_object(path, remedy))
    if plain is None:
        raise DamagedFile(path, "its checksum does not match", remedy)
    return plain


def require_fetched(path: Path) -> None:
    """Raise InputError if the file is a Git LFS pointer, which a clone without Git LFS has in place of the file."""
    with open(path, "rb") as stream:
        is_pointer = stream.read(len(_LFS_POINTER)) == _LFS_POINTER
    if is_pointer:
        raise InputError(f"{path} is a pointer of Git LFS, not the file itself: run `git lfs pull` where it lies.")


def read_foreign_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file that any program may have written; check its checksum if it has one."""
    if path.is_file():
        require_fetched(path)
    tree = _read_object(path, "restore it from a copy")
    return read_json(path) if CHECKSUM in tree else tree


def _read_object(path: Path, remedy: str) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))  # Windows editors begin a file with a mark
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise DamagedFile(path, str(error), remedy) from None
    if not isinstance(tree, dict):
        raise DamagedFile(path, "it holds no JSON object", remedy)
    return tree


def sealed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return `tree` as JSON will give it back, with a checksum: the fingerprint of its content."""
    plain = json.loads(json.dumps(tree, allow_nan=False))
    return {**plain, CHECKSUM: fingerprint(plain)}


def unsealed(tree: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `tree` without its checksum, the inverse of `sealed`; None if the checksum is missing or wrong."""
    plain = {key: value for key, value in tree.items() if key != CHECKSUM}
    try:
        found = fingerprint(plain)
    except ValueError:  # NaN, which Python takes for JSON and `sealed` never writes
        return None
    return plain if tree.get(CHECKSUM) == found else None


def sha256_of_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Fingerprint of a value that JSON can hold: 16 hex digits, the same for equal values on any machine."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def user_path(text: str | Path) -> Path:
    """Path of a user's text, with `~` expanded. Raises InputError for an unknown user or a path that cannot exist."""
    try:
        path = Path(text).expanduser()
        path.exists()  # raises where a name is too long
    except (RuntimeError, OSError) as error:
        reason = getattr(error, "strerror", None) or "there is no such user"
        shown = str(text) if len(str(text)) < 100 else f"{str(text)[:100]}..."
        raise InputError(f"{shown!r} cannot be a path ({reason}): correct it.") from None
    return path


def require_folder_name(what: str, name: str) -> None:
    """Raise InputError unless any file system takes `name` for a folder, and it cannot lead out of its parent."""
    if _FOLDER_NAME.fullmatch(name) is None:
        raise InputError(f"{what} {name!r} cannot be a folder: use letters, digits and . _ + - (100 at most).")


def is_disk_full(error: OSError) -> bool:
    """Whether the error says that the file system takes no more data: full, over quota, or read-only."""
    return error.errno in _NO_ROOM


def free_bytes(path: Path) -> int:
    """Free bytes on the file system of `path`, or of its nearest parent that exists."""
    return shutil.disk_usage(next(p for p in (path, *path.absolute().parents) if p.exists())).free


def require_room(path: Path, needed_bytes: float, what: str, remedy: str) -> None:
    """Raise InputError unless the file system of `path` has room for `what` (a plural noun)."""
    free = free_bytes(path)
    if free < needed_bytes:
        raise InputError(f"{path} has {mib(free)} MiB free but {what} need about {mib(needed_bytes)} MiB: {remedy}.")


def mib(size: float) -> str:
    """A size in MiB, with a digit after the point where it is small."""
    return f"{size / MIB:,.1f}" if size < 10 * MIB else f"{size / MIB:,.0f}"
