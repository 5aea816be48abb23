"""Files with one row a line: packed or not, the same rows and fingerprint; an error in a line is reported."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from trainable.config import CorpusConfig
from trainable.errors import InputError
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.sources import lines

ROWS = ["the first row", "naïve “quotes” 🙂", "tab\tand \u2028 separator", 'a "quoted", word', "the last row"]
MARK = b"\xef\xbb\xbf"


def opened(source: Path, **settings: Any) -> Corpus:
    return open_corpus(CorpusConfig(source=str(source), **settings))


def texts_of(corpus: Corpus) -> list[str | None]:
    return [text for batch in corpus.batches(3) for text in batch.to_pylist()]


def as_lines(rows: list[str]) -> bytes:
    return "".join(json.dumps({"id": i, "text": row}, ensure_ascii=False) + "\n" for i, row in enumerate(rows)).encode()


def with_arrow(codec: str) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(data)
        return bytes(sink.getvalue().to_pybytes())

    return pack


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": with_arrow("zstd"),
    ".bz2": bz2.compress,
    ".lz4": with_arrow("lz4"),
    ".xz": lzma.compress,
}

# ---- packed files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.txt", "A.JSONL"])
def test_a_packed_file_is_the_same_corpus_as_the_file(tmp_path: Path, name: str, ending: str) -> None:
    content = as_lines(ROWS) if "json" in name.lower() else "".join(f"{row}\n" for row in ROWS).encode()
    (tmp_path / name).write_bytes(content)
    (tmp_path / f"{name}{ending}").write_bytes(PACK[ending](content))
    plain, packed = opened(tmp_path / name), opened(tmp_path / f"{name}{ending}")
    assert texts_of(packed) == ROWS
    assert (packed.rows, packed.fingerprint) == (5, plain.fingerprint)


@pytest.mark.parametrize("ending", [".gz", ".zst", ".bz2", ".xz"])
def test_packed_files_that_were_joined_are_read_to_the_end(tmp_path: Path, ending: str) -> None:
    pack = PACK[ending]
    (tmp_path / f"a.jsonl{ending}").write_bytes(pack(as_lines(ROWS)) + pack(as_lines(ROWS)))
    assert texts_of(opened(tmp_path / f"a.jsonl{ending}")) == [*ROWS, *ROWS]


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("cut", ["last bytes", "half", "all", "damaged"])
def test_a_packed_file_that_is_not_whole_is_refused_and_not_read_as_a_shorter_corpus(
    tmp_path: Path, ending: str, cut: str
) -> None:
    whole = PACK[ending](b"".join(as_lines([f"row {i * 7919 % 977}" for i in range(3000)])[:] for _ in range(1)))
    left = {"last bytes": whole[:-4], "half": whole[: len(whole) // 2], "all": b"", "damaged": b"\1" + whole[1:]}[cut]
    (tmp_path / f"a.jsonl{ending}").write_bytes(left)
    with pytest.raises(
        InputError, match=rf"a\.jsonl\{ending} is not a whole \{ending} file \(.+\): download or pack it"
    ):
        opened(tmp_path / f"a.jsonl{ending}")


def test_a_packed_corpus_of_another_content_has_another_fingerprint(tmp_path: Path) -> None:
    prints = set()
    for rows in (ROWS, ROWS[:-1], [*ROWS[:-1], "the lost row"]):
        (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(as_lines(rows)))
        prints.add(opened(tmp_path / "a.jsonl.gz").fingerprint)
    assert len(prints) == 3


def test_shards_have_another_fingerprint_in_another_order(tmp_path: Path) -> None:
    prints = set()
    for first, second in (("one", "two"), ("two", "one")):
        (tmp_path / "a.txt").write_text(f"{first}\n")
        (tmp_path / "b.txt").write_text(f"{second}\n")
        corpus = opened(tmp_path)
        assert texts_of(corpus) == [first, second]
        prints.add(corpus.fingerprint)
    assert len(prints) == 2


# ---- content of text files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_rows_do_not_depend_on_how_much_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(MARK + "one\r\n\n🙂 two\rthree\n".encode() + MARK + b"four\n\n" + MARK)
    whole = opened(path)
    monkeypatch.setattr(lines, "BLOCK_BYTES", block)
    corpus = opened(path)
    assert corpus.fingerprint == whole.fingerprint
    assert texts_of(corpus) == ["one", "", "🙂 two\rthree", "four", ""]
    path.write_bytes(b"a\nb\n\nc\n\xff\n")
    with pytest.raises(InputError, match=r"row 5 of .*a\.txt is not UTF-8"):
        opened(path)
    path.write_bytes(b"a\nb\n\nc\n\0\n")
    with pytest.raises(InputError, match=r"NUL byte in row 5"):
        opened(path)


def test_byte_order_marks_of_joined_files_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes((MARK + as_lines(ROWS)) * 2)
    assert texts_of(opened(tmp_path / "a.jsonl")) == [*ROWS, *ROWS]
    (tmp_path / "a.txt").write_bytes((MARK + b"one\ntwo\n") * 2)
    (tmp_path / "b.txt").write_bytes(MARK + b"one\ntwo\n" * 2)
    joined, plain = opened(tmp_path / "a.txt"), opened(tmp_path / "b.txt")
    assert texts_of(joined) == texts_of(plain) == ["one", "two"] * 2
    assert joined.fingerprint == plain.fingerprint, "the same text is tokenised"


def test_the_fingerprint_of_a_plain_file_has_not_changed(tmp_path: Path) -> None:
    """Earlier runs and caches are found by this fingerprint."""
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": "b"}\n')
    (tmp_path / "a.txt").write_bytes(MARK + b"one\r\ntwo\n")
    prints = [opened(tmp_path / name).fingerprint for name in ("a.jsonl", "a.txt")]
    assert prints == ["e422205d05028c7e", "9e1ad9d7a1c6b22c"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_utf_16_and_utf_32_are_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("one\ntwo\n".encode(encoding))
    with pytest.raises(InputError, match=r"row 1 of .* is UTF-16 or UTF-32, not UTF-8|NUL byte in row 1"):
        opened(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.jsonl.gz", "a.parquet"])
def test_what_git_leaves_in_the_place_of_a_large_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(InputError, match=r"is a pointer of Git LFS, not the file itself: run `git lfs pull`"):
        opened(tmp_path / name)


@pytest.mark.parametrize("ending", [".gz", ".zst", ".bz2", ".xz"])
def test_a_packed_file_without_its_ending_is_refused(tmp_path: Path, ending: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(PACK[ending](as_lines(ROWS)))
    with pytest.raises(InputError, match=rf"a\.jsonl holds what a \{ending} file holds, not text: rename it"):
        opened(tmp_path / "a.jsonl")


def test_a_window_that_is_too_large_to_unpack_is_refused(tmp_path: Path) -> None:
    """`zstd --long=31`, with which dumps of forums are packed, writes such a window."""
    frame = b"\x28\xb5\x2f\xfd" + bytes([0, (31 - 10) << 3]) + bytes([1, 0, 0])  # a window of 2^31, an empty block
    (tmp_path / "a.jsonl.zst").write_bytes(frame)
    with pytest.raises(InputError, match=r"pack it again \(without --long: a window over 128 MiB is too large\)\."):
        opened(tmp_path / "a.jsonl.zst")


def test_a_file_that_was_packed_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(gzip.compress(as_lines(ROWS))))
    with pytest.raises(InputError, match=r"a\.jsonl\.gz holds what a \.gz file holds, not text: unpack it once\."):
        opened(tmp_path / "a.jsonl.gz")


# ---- errors in a line of JSON ------------------------------------------------------------------------------------

WRONG = {
    b'{"text": "last",}': "is not a JSON object (a comma with nothing after it, at character 1",
    b'{"text": ["a",]}': "is not a JSON object (a comma with nothing after it, at character 1",
    b'{"text": "a\tb"}': "is not a JSON object (a raw control character, which JSON writes as \\t, at character 12)",
    b"{'text': 'a'}": "is not a JSON object (single quotes where JSON has double ones, at character 2)",
    b'{"text": "a"': "is not a JSON object (it ends too early, at character 13)",
    b'{"text": "a': "is not a JSON object (unterminated string starting at, at character 10)",
    b'{"text": None}': "is not a JSON object (None where JSON has null, at character 10)",
    b'{"text": "a", "good": True}': "is not a JSON object (True where JSON has true, at character 23)",
    b'{"text": "a"} {"text": "b"}': "is not a JSON object (a second object on the line, at character 15)",
    b'{"text": "a"}{"text": "b"}': "is not a JSON object (a second object on the line, at character 14)",
    b'{"text": "a"},': "is not a JSON object (a comma after the object, at character 14)",
    b'[{"text": "a"}]': "is not a JSON object but a list: write one JSON object a line (`jq -c '.[]'`",
    b'"a"': "is not a JSON object but a string",
    b"{": "is not a JSON object (it ends too early, at character 2)",
    b'{"a":' * 100_000: "is not a JSON object (it is nested too deep)",
    b"[": "begins a JSON array and not an object: write one JSON object a line (`jq -c '.[]'`",
    b'{"text": NaN}': "holds no text in column 'text' but NaN",
    b'{"text": 1': "is not a JSON object (it ends too early, at character 11)",
    b'{"text": ' + b"1" * 5000 + b"}": "holds no text in column 'text' but a number",
    b'{"text": ["a", "b"]}': "holds no text in column 'text' but a list",
    b'{"text": {"en": "a"}}': "holds no text in column 'text' but an object",
    b'{"text": true}': "holds no text in column 'text' but true or false",
    b'{"text": "a", "text": "b"}': "has 2 columns 'text': keep one of them",
    b'{"text": "a", "text": null}': "has 2 columns 'text': keep one of them",
    b'{"meta": {"text": "a"}}': "has no column 'text': set corpus.column to one of 'meta'",
    b"{}": "has no column 'text': set corpus.column to one of its columns",
}


@pytest.mark.parametrize("line", WRONG, ids=lambda line: line[:20].decode())
def test_what_is_wrong_with_a_line_is_told_with_its_row_and_character(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(as_lines(ROWS) * 50 + line + b"\n")
    with pytest.raises(InputError) as caught:
        opened(tmp_path / "a.jsonl")
    assert f"row 251 of {tmp_path / 'a.jsonl'} {WRONG[line]}" in str(caught.value)


RIGHT = {
    b' {"text": "a"} \r': "a",
    b'{"text": "a", "id": ' + b"1" * 5000 + b"}": "a",
    b'{"text": "a", "score": NaN, "id": 1, "id": 2}': "a",
    b'{"text": "a\\tb\\u00e9 \\ud83d\\ude42"}': "a\tbé 🙂",
    b'{"text": null}': None,
    b"": None,
    b" \t": None,
}


@pytest.mark.parametrize("line", RIGHT, ids=lambda line: line[:24].decode())
def test_lines_that_are_valid_but_unusual_are_read(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(as_lines(ROWS) + line + b"\n" + as_lines(ROWS))
    assert texts_of(opened(tmp_path / "a.jsonl")) == [*ROWS, RIGHT[line], *ROWS]
