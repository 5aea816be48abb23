"""The lines of UTF-8 text files, packed (.gz, .zst, ...) or not, decoded and checked one by one.

A file that only seems to be text, or is cut, is refused by its first bytes or at its end, never read as less. Byte
order marks are dropped, also those in the middle of files that were joined. Lines end at "\\n" alone. A packed file is
unpacked as it is read, in bounded memory: nothing reads lines out of order.
"""

import codecs
import io
import lzma
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from trainable.errors import InputError
from trainable.text.files import PACKED

CHUNK_BYTES = 1 << 20  # read at once
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # what a clone without Git LFS has in a file's place
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)  # that of UTF-32-LE begins as UTF-16-LE

Hear = Callable[[bytes], Any]  # (bytes of a line)


def lines(path: Path, hear: Hear = lambda raw: None) -> Iterator[str]:
    """The lines with their ends. `hear` is told the bytes that stand for the content, unpacked.

    Raises InputError that names the line which is no UTF-8 text, or the file that is not whole.
    """
    row = 0
    for row, raw in enumerate(_raw_lines(path), start=1):
        if row == 1:
            _require_text(path, raw)
        elif raw.startswith(codecs.BOM_UTF8):
            raw = raw.removeprefix(codecs.BOM_UTF8)
        hear(raw)
        if b"\0" in raw:
            raise InputError(f"{path} is not a text file (NUL byte in row {row}): give a UTF-8 text file.")
        try:
            line = raw.decode()
        except UnicodeDecodeError:
            raise InputError(f"row {row} of {path} is not UTF-8: convert the file to UTF-8.") from None
        yield line.removeprefix("\ufeff") if row == 1 else line


def _raw_lines(path: Path) -> Iterator[bytes]:
    packing = PACKED.get(path.suffix.lower())
    try:
        with _opened(path, packing) as stream:
            yield from stream
    except (EOFError, lzma.LZMAError, pa.ArrowException, OSError) as error:
        if packing is None or getattr(error, "errno", None):
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{path} is not a whole {path.suffix} file ({reason}): download or pack it again.") from error


@contextmanager
def _opened(path: Path, packing: str | None) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        if packing is None:
            yield file
            return
        if path.stat().st_size == 0:  # which every codec takes for the end of a text
            raise EOFError("it is empty")
        if packing == "xz":
            yield stack.enter_context(lzma.open(file))
            return
        unpacked = stack.enter_context(pa.CompressedInputStream(pa.PythonFile(file, "r"), packing))
        yield stack.enter_context(io.BufferedReader(unpacked, CHUNK_BYTES))


def _require_text(path: Path, raw: bytes) -> None:
    if raw.startswith(_LFS_POINTER):
        raise InputError(f"{path} is a pointer of Git LFS, not the file itself: run `git lfs pull` where it lies.")
    if raw.startswith(_WIDE):
        raise InputError(f"row 1 of {path} is UTF-16 or UTF-32, not UTF-8: convert the file to UTF-8.")
