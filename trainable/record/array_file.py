"""Files of facts and arrays, such as a teacher table: written whole, memory-mapped, every byte checked.

    magic 8 bytes | version 4 | length of the facts 4 | facts as JSON, padded with spaces | arrays | SHA-256 of the rest

Arrays are written in pieces, so a file may be larger than the memory. The arrays of a file that is read are views of
the mapped file, which processes share. The digest shows that no byte has changed, not that the content makes sense: if
no object can be built from its facts and arrays, a file counts as damaged too.
"""

import hashlib
import json
import math
import mmap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from trainable.errors import DamagedFile, InputError, require
from trainable.record.files import atomic_file

Facts = dict[str, Any]  # values that JSON can hold
Arrays = dict[str, Any]  # numpy arrays by name
Place = tuple[str, DTypeLike, tuple[int, ...]]  # name, dtype and shape of an array
Made = TypeVar("Made")

PREFIX_BYTES: Final = 16  # magic, version, length of the facts
ALIGNMENT: Final = 64  # of the first array, in bytes
DIGEST_BYTES: Final = hashlib.sha256().digest_size

# Errors that building an object from untrusted facts and arrays can raise.
_SENSELESS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file: its first bytes, the order of its arrays, and words for its error messages."""

    magic: bytes  # 8 bytes
    version: int
    what: str  # name of the kind, such as "bigram table"
    making: str  # what a user does to get such a file, such as "count the table"
    places: Callable[[Facts], Iterable[Place]]  # the arrays in file order; widest dtype first, so that all are aligned

    def write(self, path: Path, facts: Facts, pieces: Iterable[NDArray[Any]]) -> None:
        """Write a file atomically: `path` is the old file or the whole new one, never a part.

        pieces: the arrays that `places(facts)` names, end to end, in any number of pieces; each piece is made when
        it is written.
        """
        digest = hashlib.sha256()
        with atomic_file(path) as stream:
            for part in self._parts(facts, pieces):
                stream.write(part)
                digest.update(part)
            stream.write(digest.digest())

    def checksum(self, facts: Facts, arrays: Iterable[NDArray[Any]]) -> str:
        """Hex digest of facts and arrays, computed at each call; equal to the digest at the end of their file."""
        digest = hashlib.sha256()
        for part in self._parts(facts, arrays):
            digest.update(part)
        return digest.hexdigest()

    def read(self, path: Path, make: Callable[[Facts, Arrays], Made]) -> Made:
        """Check every byte of a file; return what `make` builds from its facts and its arrays (read-only, mapped).

        Raises DamagedFile if a byte is not what was written, the arrays do not fill the file, or `make` cannot build
        from these values; InputError if the file is missing, of another kind, or of another version.
        """
        content = self._mapped(path)
        require(
            bytes(content[: len(self.magic)]) == self.magic,
            f"{path} is no {self.what}, or its beginning is damaged: {self.making} again.",
        )
        version = int.from_bytes(content[8:12], "little")
        require(
            version == self.version,
            f"{path} has version {version} of the {self.what} format, this program reads {self.version}: "
            f"{self.making} again.",
        )
        body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
        remedy = f"delete it and {self.making} again"
        if hashlib.sha256(body).digest() != bytes(digest):
            raise DamagedFile(path, "its checksum does not match", remedy)
        try:
            return make(*self._parsed(body))
        except _SENSELESS as error:
            raise DamagedFile(path, str(error), remedy) from None

    def _parts(self, facts: Facts, pieces: Iterable[NDArray[Any]]) -> Iterator[bytes | memoryview]:
        """All bytes but the digest: the header, then the memory of each piece, without a copy."""
        text = json.dumps(facts, sort_keys=True, allow_nan=False).encode()
        text += b" " * (-(PREFIX_BYTES + len(text)) % ALIGNMENT)
        yield self.magic + self.version.to_bytes(4, "little") + len(text).to_bytes(4, "little") + text
        for piece in pieces:
            yield np.ascontiguousarray(piece).data.cast("B") if piece.size else b""

    def _mapped(self, path: Path) -> memoryview:
        """Map the file for reading."""
        try:
            with open(path, "rb") as stream:
                size = stream.seek(0, 2)
                return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
        except FileNotFoundError:
            raise InputError(
                f"the {self.what} {path} does not exist: {self.making} first, or correct the path."
            ) from None
        except OSError as error:
            raise InputError(
                f"the {self.what} {path} cannot be read ({error.strerror}): correct the path, or {self.making} again."
            ) from None

    def _parsed(self, body: memoryview) -> tuple[Facts, Arrays]:
        """Facts and arrays in `body`, the bytes of a file without its digest; the arrays are views."""
        start = PREFIX_BYTES + int.from_bytes(body[12:PREFIX_BYTES], "little")
        facts = json.loads(bytes(body[PREFIX_BYTES:start]))
        arrays: Arrays = {}
        for name, dtype, shape in self.places(facts):
            arrays[name] = np.frombuffer(body, dtype, math.prod(shape), start).reshape(shape)
            start += arrays[name].nbytes
        if start != len(body):
            raise ValueError("its arrays do not fill it")
        return facts, arrays
