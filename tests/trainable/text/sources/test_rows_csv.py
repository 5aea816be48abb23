"""Rows of CSV and TSV files: quoted values are read as written, and a missing quote never cuts or joins text."""

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from trainable.config import CorpusConfig
from trainable.errors import InputError
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.sources import lines

ROWS = ["plain", "a, comma; and\ttab", 'a "quote"', "two\nlines\r\nand three", "", "naïve 🙂", "NA", "null", " spaces "]


def opened(source: Path, **settings: Any) -> Corpus:
    return open_corpus(CorpusConfig(source=str(source), **settings))


def texts_of(corpus: Corpus) -> list[str | None]:
    return [text for batch in corpus.batches(3) for text in batch.to_pylist()]


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.tsv", "\t"), ("a.csv.gz", ","), ("A.CSV", ",")])
def test_a_table_gives_the_rows_that_were_written(tmp_path: Path, name: str, separator: str) -> None:
    table = pd.DataFrame({"id": range(len(ROWS)), "text": ROWS})
    table.to_csv(tmp_path / name, index=False, sep=separator, lineterminator="\n")
    corpus = opened(tmp_path / name)
    assert (texts_of(corpus), corpus.rows) == (ROWS, len(ROWS))


@pytest.mark.parametrize("block", [1, 5, 64])
def test_rows_do_not_depend_on_how_much_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """Arrow's reader loses a line break in quotes at the end of a block (apache/arrow issue 51368)."""
    pd.DataFrame({"text": ROWS}).to_csv(tmp_path / "a.csv", index=False, lineterminator="\r\n")
    monkeypatch.setattr(lines, "BLOCK_BYTES", block)
    assert texts_of(opened(tmp_path / "a.csv")) == ROWS


def test_the_fingerprint_depends_on_the_unpacked_content_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text\none\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\none\n"))
    (tmp_path / "b.csv").write_bytes(b"text\ntwo\n")
    one, packed, two = (opened(tmp_path / name).fingerprint for name in ("a.csv", "a.csv.gz", "b.csv"))
    assert one == packed != two


def test_byte_order_marks_line_ends_and_blank_lines_of_other_systems_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbf"text"\r\none\r\n\r\n"two"\r\nthree')
    assert texts_of(opened(tmp_path / "a.csv")) == ["one", None, "two", "three"]


def test_a_row_may_be_as_long_as_a_book(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"text\n{'x' * 3_000_000}\n")
    assert texts_of(opened(tmp_path / "a.csv")) == ["x" * 3_000_000]


def test_an_empty_shard_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\none\n")
    (tmp_path / "b.csv").write_text("")
    assert texts_of(opened(tmp_path)) == ["one"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("body,id\na,1\n", r"no column 'text' in its first line: set corpus.column to one of 'body', 'id'\."),
        ("text;id\na;1\n", r"one of 'text;id', or separate its columns by ',' and not by ';'\."),
        ("text,text\na,b\n", r"has 2 columns 'text': rename or remove all but one"),
        ("text,id\na,1\nHello, world,2\n", r"line 3 of .* has 3 values where line 1 names 2 columns: quote values"),
        ("text,id\na,1\nb\n", r"line 3 of .* has 1 values where line 1 names 2 columns"),
        ('text\none\n"two\nthree\n', r"line 3 of .* cannot be read as csv \(unexpected end of data, found at line 4\)"),
        ('text\n"a "b" c"\n', r"line 2 of .* cannot be read as csv \(',' expected after '\"'"),
        ('text\n"a \\"b\\" c"\n', r"line 2 of .* double the quotes in them"),
        ("\ntext\na\n", "line 1 of .* is blank, where the columns are named: remove it"),
        ("text\n", "has no rows"),
        ("text\n\0\n", "NUL byte in row 2"),
    ],
)
def test_an_error_in_a_table_is_reported_with_the_reason(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=told):
        opened(tmp_path / "a.csv")
