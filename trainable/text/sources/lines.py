"""Read the lines of UTF-8 text files, packed (.gz, .zst, ...) or not, decoded and checked.

A file that is not text is refused by its first bytes; a packed file that was cut short is refused at its end, never
taken for a shorter one. Byte order marks are dropped, also those in the middle of files that were joined. Lines end at
"\\n" alone. A packed file is unpacked while it is read, in bounded memory: no caller reads lines out of order.
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
from trainable.record.files import require_fetched
from trainable.text.sources.files import PACKED

BLOCK_BYTES = 1 << 20  # read at once, with the rest of the last line
_PACKED_HEADS = {
    b"\x1f\x8b": ".gz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"BZh": ".bz2",
    b"\xfd7zXZ": ".xz",
    b"PAR1": ".parquet",
}
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)  # UTF-32-LE's begins with UTF-16-LE's

Hear = Callable[[bytes], Any]  # (bytes that were read)


def lines(path: Path, hear: Hear = lambda block: None) -> Iterator[str]:
    """Yield the lines without their ends. hear: called with the unpacked bytes, block by block, to digest them.

    Raises an InputError that names the line that is not UTF-8 text, or the file that is not whole.
    """
    row = 1  # of the first line of a block
    for block in _blocks(path):
        if row == 1:
            _require_text(path, block)
        block = block.replace(b"\n" + codecs.BOM_UTF8, b"\n")
        if row > 1:
            block = block.removeprefix(codecs.BOM_UTF8)
        hear(block)
        if b"\0" in block:
            row += block.count(b"\n", 0, block.index(b"\0"))
            raise InputError(f"{path} is not a text file (NUL byte in row {row}): give a UTF-8 text file.")
        try:
            text = block.decode()
        except UnicodeDecodeError as error:
            row += block.count(b"\n", 0, error.start)
            raise InputError(f"row {row} of {path} is not UTF-8: convert the file to UTF-8.") from None
        if text := text.removeprefix("\ufeff"):
            found = text.removesuffix("\n").split("\n")
            yield from found
            row += len(found)


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the unpacked content in blocks of whole lines."""
    packing = PACKED.get(path.suffix.lower())
    require_fetched(path)
    try:
        with _opened(path, packing) as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block if block.endswith(b"\n") else block + stream.readline()
    except (EOFError, lzma.LZMAError, pa.ArrowException, OSError) as error:
        if packing is None or getattr(error, "errno", None):
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        smaller = " (without --long: a window over 128 MiB is too large)" if packing == "zstd" else ""
        raise InputError(
            f"{path} is not a whole {path.suffix} file ({reason}): download or pack it again{smaller}."
        ) from error


@contextmanager
def _opened(path: Path, packing: str | None) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        if packing is None:
            yield file
            return
        if path.stat().st_size == 0:  # every codec takes this for an empty text
            raise EOFError("it is empty")
        if packing == "xz":
            yield stack.enter_context(lzma.open(file))
            return
        unpacked = stack.enter_context(pa.CompressedInputStream(pa.PythonFile(file, "r"), packing))
        yield stack.enter_context(io.BufferedReader(unpacked, BLOCK_BYTES))


def _require_text(path: Path, block: bytes) -> None:
    for head, ending in _PACKED_HEADS.items():
        if block.startswith(head):
            is_packed = path.suffix.lower() in PACKED
            raise InputError(
                f"{path} holds what a {ending} file holds, not text: "
                + ("unpack it once." if is_packed else f"rename it to end in {ending}.")
            )
    if block.startswith(_WIDE):
        raise InputError(f"row 1 of {path} is UTF-16 or UTF-32, not UTF-8: convert the file to UTF-8.")
