"""Rows of parquet files: the column that was meant, nulls where a shard has no type, batches of bounded bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainable.config import CorpusConfig
from trainable.errors import InputError
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.sources import rows, rows_parquet


def opened(source: Path, **settings: Any) -> Corpus:
    return open_corpus(CorpusConfig(source=str(source), **settings))


def texts_of(corpus: Corpus) -> list[str | None]:
    return [text for batch in corpus.batches() for text in batch.to_pylist()]


def shards(folder: Path, *tables: pa.Table) -> Path:
    for number, table in enumerate(tables):
        pq.write_table(table, folder / f"part-{number}.parquet")
    return folder


def test_two_columns_of_the_name_are_refused(tmp_path: Path) -> None:
    columns = [pa.array(["a"]), pa.array(["b"]), pa.array([1]), pa.array([2])]
    pq.write_table(pa.Table.from_arrays(columns, names=["text", "text", "id", "id"]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet has 2 columns 'text': rename or remove all but one\."):
        opened(tmp_path / "a.parquet")


def test_two_columns_of_another_name_do_not_matter(tmp_path: Path) -> None:
    columns = [pa.array([1]), pa.array(["a"]), pa.array([2])]
    pq.write_table(pa.Table.from_arrays(columns, names=["id", "text", "id"]), tmp_path / "a.parquet")
    assert texts_of(opened(tmp_path / "a.parquet")) == ["a"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_shard_without_a_type_has_null_rows(tmp_path: Path, place: int) -> None:
    tables = [pa.table({"text": ["a", "b"]}), pa.table({"text": ["c"]})]
    tables.insert(place, pa.table({"text": pa.nulls(2)}))
    corpus = opened(shards(tmp_path, *tables))
    assert corpus.rows == 5
    at = (0, 2, 3)[place]
    expected: list[str | None] = ["a", "b", "c"]
    assert texts_of(corpus) == [*expected[:at], None, None, *expected[at:]]


def test_a_corpus_of_no_type_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"column 'text' of .*part-0\.parquet holds null, not text"):
        opened(shards(tmp_path, pa.table({"text": pa.nulls(2)}), pa.table({"text": pa.nulls(1)})))


def test_shards_may_differ_in_order_type_and_other_columns_and_have_no_rows(tmp_path: Path) -> None:
    tables = [
        pa.table({"id": [1], "text": ["a"]}),
        pa.table({"text": pa.array(["b"]).dictionary_encode(), "url": ["u"]}),
        pa.table({"text": pa.array([], pa.string())}),
        pa.table({"text": pa.array([], pa.null())}),
        pa.table({"text": pa.array(["c"], pa.large_string()), "id": ["x"]}),
    ]
    assert texts_of(opened(shards(tmp_path, *tables))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (pa.table({"body": ["b"]}), r"part-1\.parquet has no column 'text': set corpus.column to one of 'body'"),
        (pa.table({"text": [1]}), r"column 'text' of .*part-1\.parquet holds int64, not text"),
        (pa.table({"text": [b"b"]}), r"column 'text' of .*part-1\.parquet holds binary, not text"),
        (pa.table({"text": [["b"]]}), r"column 'text' of .*part-1\.parquet holds list<.*>, not text"),
    ],
)
def test_a_shard_without_the_text_is_named(tmp_path: Path, table: pa.Table, told: str) -> None:
    with pytest.raises(InputError, match=told):
        opened(shards(tmp_path, pa.table({"text": ["a"]}), table))


def test_an_empty_file_among_shards_is_named(tmp_path: Path) -> None:
    shards(tmp_path, pa.table({"text": ["a"]}))
    (tmp_path / "part-1.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"part-1\.parquet is not a whole parquet file"):
        opened(tmp_path)


@pytest.mark.parametrize("struct_first", [True, False])
def test_a_flat_name_with_a_dot_is_not_the_field_of_a_struct(tmp_path: Path, struct_first: bool) -> None:
    columns = {"meta": pa.array([{"text": "field", "n": 1}] * 3), "meta.text": pa.array(["flat"] * 3)}
    names = sorted(columns, reverse=not struct_first)
    pq.write_table(pa.table({name: columns[name] for name in names}), tmp_path / "a.parquet")
    corpus = opened(tmp_path / "a.parquet", column="meta.text")
    assert texts_of(corpus) == ["flat"] * 3
    assert corpus.notes == ("column 'meta.text' is the one of that name, not a field of 'meta'",)
    with pytest.raises(InputError, match=r"no column 'meta.n'"):
        opened(tmp_path / "a.parquet", column="meta.n")


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("dictionary", [False, True])
def test_batches_are_bounded_by_bytes_whatever_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dictionary: bool, skewed: bool
) -> None:
    monkeypatch.setattr(rows, "BATCH_BYTES", 1 << 16)
    monkeypatch.setattr(rows_parquet, "BATCH_BYTES", 1 << 16)
    texts = (
        ["short"] * 5000 * skewed + [("same" if dictionary else f"{i:04}") * 1000 for i in range(600)] + ["x" * 99_999]
    )
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", use_dictionary=dictionary)
    corpus = opened(tmp_path / "a.parquet")
    batches = list(corpus.batches())
    assert [text for batch in batches for text in batch.to_pylist()] == texts
    assert all(batch.nbytes <= 1 << 16 or len(batch) == 1 for batch in batches)
    read = pq.ParquetFile(tmp_path / "a.parquet")
    step = rows_parquet._step_rows(read, "text")
    assert step <= (rows_parquet.STEP_ROWS if skewed or dictionary else 20), "read at once"
    taken = [text for _, batch in corpus.take(np.arange(len(texts))) for text in batch.to_pylist()]
    assert taken == texts


def test_the_fingerprint_of_a_folder_is_what_it_was(tmp_path: Path) -> None:
    """Runs and caches of before are found again."""
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["b"]}), tmp_path / "b.parquet")
    digests = [rows_parquet.sha256_of_file(tmp_path / f"{name}.parquet") for name in ("a", "b")]
    assert opened(tmp_path).fingerprint == rows_parquet.fingerprint(["parquet", digests])
