"""Pages of Parquet columns: rows and bytes that headers state, and one page of all rows if headers are unreadable."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.text.sources.parquet_pages import Page, pages


def pages_of(path: Path, longest_entry: int = 7) -> tuple[list[Page], Any]:
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(0)
    with open(path, "rb") as stream:
        return pages(stream, chunk, lambda: longest_entry), chunk


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_headers_of_plain_pages_state_their_rows_and_bytes(tmp_path: Path, version: str, compression: str) -> None:
    texts = [f"{i:05}" * (1 + i % 40) for i in range(1000)]
    table, path = pa.table({"text": texts}), tmp_path / "a.parquet"
    layout = {"write_batch_size": 100, "data_page_size": 1, "data_page_version": version, "compression": compression}
    pq.write_table(table, path, use_dictionary=False, **layout)
    found, _ = pages_of(path)
    assert [page.rows for page in found] == [100] * 10
    for number, page in enumerate(found):
        own = texts[100 * number : 100 * number + 100]
        assert sum(map(len, own)) + 400 <= page.nbytes <= sum(map(len, own)) + 440, "4 bytes a row, and levels"
        assert page.longest == page.nbytes


def test_each_row_of_a_dictionary_page_counts_as_the_longest_entry(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["seven.."] * 500 + ["4..."] * 500}), path)
    assert pages_of(path)[0] == [Page(1000, 7000, 7)]


def test_a_long_header_is_read_whole(tmp_path: Path) -> None:
    """Some writers put the smallest and the largest row into the header of a page."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"] * 10}), path, use_dictionary=False, compression="none")
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(0)
    least = b"x" * 5000
    statistics = bytes([0x18]) + varint(len(least)) + least + b"\0"  # field 1, a text; then the end
    own = bytes([0x15, 20, 0x15, 0, 0x15, 6, 0x15, 6, 0x1C]) + statistics + b"\0"  # 10 values, plain; field 5
    header = bytes([0x15, 0, 0x15, 100, 0x15, 100, 0x2C]) + own + b"\0"  # a data page of 50 bytes; then field 5
    stream = io.BytesIO(b"." * chunk.data_page_offset + header)
    assert pages(stream, chunk, lambda: 0) == [Page(10, 50, 50)]


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


@given(st.binary(max_size=600))
def test_bytes_that_are_no_header_give_one_page_of_all_rows(other: bytes) -> None:
    class Chunk:
        data_page_offset, has_dictionary_page, num_values, total_uncompressed_size = 0, False, 1 << 62, 999

    assert pages(io.BytesIO(other), Chunk(), lambda: 0) == [Page(1 << 62, 999, 999)]
