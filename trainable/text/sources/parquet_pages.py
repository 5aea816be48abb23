"""Find how much text rows of a Parquet column can hold at most, from page headers, before any page is read.

pyarrow reads batches of a number of rows, and gives only the size of a whole chunk (a column in a row group): its mean
hides a few huge rows among short ones. A page is what is decompressed at once, some 1 MiB or 1,024 rows as most writers
cut them. The header before each page says how many rows and bytes the page has, in Thrift's compact protocol; so
reading all headers costs one seek a page.
"""

from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

PLAIN, BY_DICTIONARY, LENGTHS_APART = 0, (2, 8), 6  # encodings of text
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3  # kinds of page
# Numbers of fields in a header. _HEADERS: kind of page -> (its own part of the header, the encoding in that part).
_KIND, _BYTES, _STORED, _HEADERS = 1, 2, 3, {_DATA: (5, 2), _DATA_2: (8, 4)}
_HEADER_BYTES, _LONGEST_HEADER = 1 << 8, 1 << 24  # read at first, and at most; its statistics may hold whole rows


class Page(NamedTuple):
    """Rows of a chunk, and the most bytes of text that they can have."""

    rows: int
    nbytes: int  # of all its rows
    longest: int  # of one row


def pages(stream: IO[bytes], chunk: Any, longest_entry: Callable[[], int]) -> list[Page]:
    """List the pages of a chunk in an open file; if the headers cannot be read, one page of all rows.

    chunk: pyarrow's metadata of it. longest_entry: returns the bytes of the longest text in the chunk's dictionary, for
    pages that refer to it.
    """
    try:
        found = list(_data_pages(stream, chunk))
    except (ValueError, LookupError, RecursionError):
        return [Page(chunk.num_values, chunk.total_uncompressed_size, chunk.total_uncompressed_size)]
    entry = longest_entry() if any(encoding in BY_DICTIONARY for _, _, encoding in found) else 0
    return [_page(rows, nbytes, encoding, entry) for rows, nbytes, encoding in found]


def _page(rows: int, nbytes: int, encoding: int, entry: int) -> Page:
    if encoding in (PLAIN, LENGTHS_APART):  # the page has the text as it is
        return Page(rows, nbytes, nbytes)
    longest = entry if encoding in BY_DICTIONARY else nbytes  # else a row may repeat all text before it
    return Page(rows, rows * longest, longest)


def _data_pages(stream: IO[bytes], chunk: Any) -> Iterator[tuple[int, int, int]]:
    """Yield (rows, bytes, encoding) of each data page. Raises ValueError or LookupError if bytes are no header."""
    place, rows = chunk.data_page_offset, 0
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < place:
        place = chunk.dictionary_page_offset
    while rows < chunk.num_values:
        header, size = _header(stream, place)
        if header[_KIND] in _HEADERS:
            own, encoding = _HEADERS[header[_KIND]]
            yield header[own][1], header[_BYTES], header[own][encoding]
            rows += header[own][1]
        place += size + header[_STORED]


def _header(stream: IO[bytes], place: int) -> tuple[dict[int, Any], int]:
    """Read the header at a place of the file: {number of a field: value}, and the header's size in bytes."""
    size = _HEADER_BYTES
    while True:
        stream.seek(place)
        thrift = _Thrift(stream.read(size))
        try:
            header = thrift.struct()
        except IndexError:  # the header is longer
            if size > min(len(thrift.data), _LONGEST_HEADER):
                raise
            size *= 16
            continue
        if header[_STORED] < 0 or header[_BYTES] < 0:
            raise ValueError("a page of negative size")
        return header, thrift.place


class _Thrift:
    """Reader of values in Thrift's compact protocol. Raises IndexError if the bytes end too early."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def struct(self) -> dict[int, Any]:
        """Read the fields of a struct, by number."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = head & 15 == 1 if head & 15 in (1, 2) else self._value(head & 15)
        return fields

    def _value(self, kind: int) -> Any:
        """Read a value that follows the head of its field; of a double or a text, only its length is returned."""
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind in (7, 8):
            length = 8 if kind == 7 else self._unsigned()
            self.place += length
            return length
        if kind in (9, 10):
            head = self._byte()
            return [self._value(head & 15) for _ in range(self._unsigned() if head >> 4 == 15 else head >> 4)]
        if kind == 12:
            return self.struct()
        raise ValueError(f"a field of the unknown kind {kind}")

    def _byte(self) -> int:
        self.place += 1
        return self.data[self.place - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
