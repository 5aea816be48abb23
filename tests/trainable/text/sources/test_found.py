"""Results of reading a whole file: kept while the file stays unchanged, and no longer."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainable.config import CorpusConfig
from trainable.record.cache import CACHE_VARIABLE
from trainable.text.corpus import open_corpus
from trainable.text.sources import found, rows_lines
from trainable.text.sources.found import found_once, sha256_once


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File that counts as large and as written long ago."""
    monkeypatch.setattr(found, "LARGE_BYTES", 3)
    monkeypatch.setattr(found, "SETTLED_SECONDS", -1.0)
    monkeypatch.setattr(found, "_kept", {})
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    path = tmp_path / "rows.txt"
    path.write_text("one\ntwo\n")
    return path


def looked(path: Path) -> bool:
    """Whether `found_once` read the file and did not use a kept result."""
    read: list[Path] = []
    found_once(path, ["something"], lambda: read.append(path) or [1, "a"])
    return bool(read)


def test_a_result_is_kept_in_the_process_and_in_the_cache(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_once(file, ["size"], lambda: [8, "bytes"]) == [8, "bytes"]
    assert found_once(file, ["size"], lambda: pytest.fail("read again")) == [8, "bytes"]
    monkeypatch.setattr(found, "_kept", {})  # as in another process
    assert found_once(file, ["size"], lambda: pytest.fail("read again")) == [8, "bytes"]
    assert found_once(file, ["another"], lambda: 3) == 3


def rewrite(path: Path) -> None:
    before = path.stat()
    path.write_text("one\ntoo\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size and same time of change as before


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("one\ntoo\n")
    other.replace(path)


def append(path: Path) -> None:
    path.write_text("one\ntwo\nthree\n")


@pytest.mark.parametrize("change", [rewrite, replace, append])
@pytest.mark.parametrize("same_process", [True, False])
def test_a_file_that_changed_is_read_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, change: object, same_process: bool
) -> None:
    first = sha256_once(file)
    change(file)  # type: ignore[operator]
    if not same_process:
        monkeypatch.setattr(found, "_kept", {})
    assert sha256_once(file) != first


def test_the_result_of_a_file_that_was_written_a_moment_ago_is_not_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may change again before the clock of its file system moves on."""
    monkeypatch.setattr(found, "SETTLED_SECONDS", 3600.0)
    assert looked(file) and looked(file)


def test_the_result_of_a_file_that_changes_while_it_is_read_is_not_kept(file: Path) -> None:
    assert found_once(file, ["x"], lambda: append(file) or "before") == "before"
    assert found_once(file, ["x"], lambda: "after") == "after"


def test_without_a_usable_cache_the_file_is_read_again_and_no_error_is_raised(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looked(file)
    (kept,) = (file.parent / "cache" / "files").iterdir()
    kept.write_text(kept.read_text().replace('"a"', '"b"'))
    monkeypatch.setattr(found, "_kept", {})
    assert looked(file), "the checksum of the kept result does not match"
    monkeypatch.setattr(found, "_kept", {})
    monkeypatch.setenv(CACHE_VARIABLE, str(file / "no folder"))
    assert looked(file) and not looked(file)


def test_a_small_file_leaves_nothing_in_the_cache(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found, "LARGE_BYTES", 100)
    assert looked(file) and not looked(file)
    assert not (file.parent / "cache").exists()


@pytest.mark.parametrize("form", ["txt", "jsonl", "csv", "parquet"])
def test_a_corpus_that_is_opened_again_is_neither_read_whole_nor_hashed(
    file: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A run opens its corpus to check settings, to prepare and to resume; the next run opens the corpus again."""
    path = file.with_name(f"corpus.{form}")
    if form == "parquet":
        pq.write_table(pa.table({"text": ["one", "two"]}), path)
    else:
        path.write_text(
            {"txt": "one\ntwo\n", "jsonl": '{"text": "one"}\n{"text": "two"}\n', "csv": "text\none\ntwo\n"}[form]
        )
    first = open_corpus(CorpusConfig(source=str(path)))
    expected = (first.rows, first.fingerprint)
    monkeypatch.setattr(found, "_kept", {})
    monkeypatch.setattr(rows_lines, "_scan", lambda *_: pytest.fail("read through again"))
    monkeypatch.setattr(found, "sha256_of_file", lambda _: pytest.fail("hashed again"))
    again = open_corpus(CorpusConfig(source=str(path)))
    assert (again.rows, again.fingerprint) == expected


def test_parquet_files_of_one_size_are_hashed_once_even_if_they_are_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hashes show whether one file is a copy of another, and the fingerprint uses the same hashes."""
    for name in ("a", "b"):
        pq.write_table(pa.table({"text": [name]}), tmp_path / f"{name}.parquet")
    hashed: list[Path] = []
    whole = found.sha256_of_file
    monkeypatch.setattr(found, "sha256_of_file", lambda path: hashed.append(path) or whole(path))
    assert open_corpus(CorpusConfig(source=str(tmp_path))).fingerprint
    assert len(hashed) == 2
