"""Read and write files behind a URI as whole objects, through pyarrow.fs (s3://, gs://, abfs://, hdfs://).

A store can neither append to an object nor rename it; a reader sees the previous version while a new one is written.
If a store that has answered before fails, an operation is tried again for some minutes; then StoreError says which
store failed, and why.
"""

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit

from trainable.errors import InputError, first_line

Answer = TypeVar("Answer")
_URI = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
# Seconds to wait before an operation is tried again; each time, pyarrow itself has already tried for 6 s.
_PAUSES = (1.0, 4.0, 10.0, 30.0, 60.0)
_CHUNK = 16 * 2**20
_UNREACHED = re.compile(r"curlCode: \d+, (.+)$")  # in pyarrow's words for a store of S3 that was not reached
# Refusals that a further try cannot change; pyarrow has no field for the reason, so its words for S3 are matched.
_FINAL = re.compile("ACCESS_DENIED|NO_SUCH_BUCKET|INVALID|SIGNATURE|No response body")


ADVICE = "check its name, the network, and your credentials"


class StoreError(OSError):
    """Raised for a store that does not answer, or that refuses an operation."""


class Version(NamedTuple):
    """One version of an object: size and modification time."""

    size: int
    changed_ns: int  # nanoseconds since the epoch


def is_uri(text: str) -> bool:
    """Whether the text is a URI, not a path."""
    return _URI.match(text) is not None


def below(uri: str, *names: str) -> str:
    """URI of a file or folder below the folder `uri`; its options (?endpoint_override=...) stay at the end."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(path="/".join([parts.path.rstrip("/"), *names])))


class Store:
    """Objects below a URI, called by names such as "trials/none-L1-s0/metrics.jsonl"."""

    def __init__(self, uri: str):
        """Raises InputError for a URI that pyarrow cannot open. Asks no store; S3 may be asked for the region alone."""
        parts = urlsplit(uri)
        if parts.password is not None:  # a password would be printed, and stand in summary.md
            raise InputError(
                f"the URI of {parts.hostname} has a password in it: leave it out, and put credentials where pyarrow "
                "looks for them, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        from pyarrow import ArrowException, fs  # not at the top: a run on a path needs none of it

        self.uri = uri
        self._fs: Any = fs
        self._has_answered = False  # until it has, its name may be wrong: then errors are raised at once
        try:
            self._filesystem, self._root = fs.FileSystem.from_uri(uri)
        except (ArrowException, OSError, ValueError) as error:
            raise InputError(
                f"{uri} cannot be opened ({_reason(error)}): give a path, or a URI such as s3://bucket/folder."
            ) from None

    def list(self, name: str = "") -> dict[str, Version]:
        """Versions by name: of the object `name`, or of all objects below the folder `name`; empty without either."""
        return self._again(lambda: self._list(name))

    def get(self, name: str, path: Path, changed_ns: int) -> None:
        """Write an object to a file and set the file's time of change, by which trials are sorted."""

        def once() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._filesystem.open_input_stream(self._at(name)) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target, _CHUNK)
            os.utime(path, ns=(changed_ns, changed_ns))

        self._again(once)

    def put(self, path: Path, name: str) -> None:
        """Store a file's bytes as the object of that name."""

        def once() -> None:
            with open(path, "rb") as source, self._filesystem.open_output_stream(self._at(name)) as target:
                shutil.copyfileobj(source, target, _CHUNK)

        self._again(once)

    def remove(self, name: str) -> None:
        """Delete the object, if it exists."""
        self._again(lambda: self._filesystem.delete_file(self._at(name)) if self._list(name) else None)

    def _list(self, name: str) -> dict[str, Version]:
        at = self._at(name)
        found = self._filesystem.get_file_info(at)
        if found.type == self._fs.FileType.File:
            return {name: Version(found.size, found.mtime_ns)}
        inside = self._filesystem.get_file_info(self._fs.FileSelector(at, recursive=True, allow_not_found=True))
        files = [info for info in inside if info.type == self._fs.FileType.File]
        versions = {info.path[len(self._root) :].lstrip("/"): Version(info.size, info.mtime_ns) for info in files}
        # An object's name is any text: a foreign one must not lead out of the folder that objects are copied to.
        return {name: version for name, version in versions.items() if ".." not in name.split("/")}

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}".rstrip("/")

    def _again(self, once: Callable[[], Answer]) -> Answer:
        pauses = iter(_PAUSES if self._has_answered else ())
        while True:
            try:
                answer = once()
            except OSError as error:
                pause = next(pauses, None)
                if pause is None or _is_final(error):
                    raise StoreError(f"{self.uri}: {_reason(error)}") from error
                time.sleep(pause)
            else:
                self._has_answered = True
                return answer


def _reason(error: Exception) -> str:
    """Reason for a failure in words: what libcurl says where the store was not reached, else the first line."""
    said = first_line(error)
    unreached = _UNREACHED.search(said)
    return f"the store cannot be reached: {unreached[1]}" if unreached else said


def _is_final(error: OSError) -> bool:
    return isinstance(error, FileNotFoundError | PermissionError) or _FINAL.search(str(error)) is not None
