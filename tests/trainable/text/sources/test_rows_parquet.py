"""Rows of parquet files: the wanted column, null rows from a shard of type null, batches of bounded bytes."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainable.config import CorpusConfig
from trainable.errors import InputError
from trainable.record.files import fingerprint, sha256_of_file
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.sources import rows, rows_parquet
from trainable.text.sources.parquet_pages import pages


def opened(source: Path, **settings: Any) -> Corpus:
    return open_corpus(CorpusConfig(source=str(source), **settings))


def texts_of(corpus: Corpus) -> list[str | None]:
    return [text for batch in corpus.batches() for text in batch.to_pylist()]


def shards(folder: Path, *tables: pa.Table) -> Path:
    for number, table in enumerate(tables):
        pq.write_table(table, folder / f"part-{number}.parquet")
    return folder


def test_two_columns_of_the_wanted_name_are_refused(tmp_path: Path) -> None:
    columns = [pa.array(["a"]), pa.array(["b"]), pa.array([1]), pa.array([2])]
    pq.write_table(pa.Table.from_arrays(columns, names=["text", "text", "id", "id"]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet has 2 columns 'text': rename or remove all but one\."):
        opened(tmp_path / "a.parquet")


def test_two_columns_of_another_name_do_not_matter(tmp_path: Path) -> None:
    columns = [pa.array([1]), pa.array(["a"]), pa.array([2])]
    pq.write_table(pa.Table.from_arrays(columns, names=["id", "text", "id"]), tmp_path / "a.parquet")
    assert texts_of(opened(tmp_path / "a.parquet")) == ["a"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_shard_of_type_null_has_null_rows(tmp_path: Path, place: int) -> None:
    tables = [pa.table({"text": ["a", "b"]}), pa.table({"text": ["c"]})]
    tables.insert(place, pa.table({"text": pa.nulls(2)}))
    corpus = opened(shards(tmp_path, *tables))
    assert corpus.rows == 5
    at = (0, 2, 3)[place]
    expected: list[str | None] = ["a", "b", "c"]
    assert texts_of(corpus) == [*expected[:at], None, None, *expected[at:]]


def test_a_corpus_with_only_shards_of_type_null_is_refused(tmp_path: Path) -> None:
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


BOUND = 1 << 16
LONG = [f"{i:04}" * 1000 for i in range(600)]
SKEWED = ["short"] * 5000 + LONG + ["x" * 30_000] + ["short"] * 300
SMALL_PAGES = {"write_batch_size": 8, "data_page_size": 1000}
LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {"use_dictionary": False, **SMALL_PAGES},
    "pages of one row": {"use_dictionary": False, "write_batch_size": 1, "data_page_size": 1},
    "a dictionary, then plain": {"dictionary_pagesize_limit": 100_000, **SMALL_PAGES},
    "pages of version 2": {"data_page_version": "2.0", "compression": "zstd", "row_group_size": 700, **SMALL_PAGES},
    "common prefixes left out": {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
    "lengths apart from text": {"use_dictionary": False, "column_encoding": "DELTA_LENGTH_BYTE_ARRAY", **SMALL_PAGES},
}


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rows, rows_parquet):
        monkeypatch.setattr(module, "BATCH_BYTES", BOUND)


@pytest.fixture
def decoded(bound: None, monkeypatch: pytest.MonkeyPatch) -> list[pa.Array]:
    """List of the arrays that are decoded, each of them at once."""
    found: list[pa.Array] = []
    checked = rows_parquet.checked_texts

    def noted(arrays: Iterable[pa.Array], where: object) -> Iterator[pa.Array]:
        for array in arrays:
            found.append(array.cast(rows.TEXT))
            yield from checked([array], where)

    monkeypatch.setattr(rows_parquet, "checked_texts", noted)
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "texts", [SKEWED, ["same" * 1000] * 600, LONG, [None, "x" * 300_000] * 5], ids=["skewed", "alike", "long", "huge"]
)
def test_no_more_is_decoded_at_once_than_the_bound_or_one_row(
    tmp_path: Path, decoded: list[pa.Array], layout: str, texts: list[str | None]
) -> None:
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", **LAYOUTS[layout])
    corpus = opened(tmp_path / "a.parquet")
    assert texts_of(corpus) == texts
    assert all(text_bytes(array) <= BOUND or len(array) == 1 for array in decoded)
    batches = list(corpus.batches())
    assert all(batch.nbytes <= BOUND or len(batch) == 1 for batch in batches)
    taken = [text for _, batch in corpus.take(np.arange(len(texts))) for text in batch.to_pylist()]
    assert taken == texts


def text_bytes(array: pa.Array) -> int:
    return sum(len(text or "") for text in array.to_pylist())


def test_at_most_two_pages_are_decoded_at_once_if_pages_are_longer_than_the_bound(
    tmp_path: Path, decoded: list[pa.Array]
) -> None:
    pq.write_table(pa.table({"text": SKEWED}), tmp_path / "a.parquet", use_dictionary=False)
    chunk = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).column(0)
    with open(tmp_path / "a.parquet", "rb") as stream:
        longest = max(page.nbytes for page in pages(stream, chunk, lambda: 0))
    assert longest > 10 * BOUND
    assert texts_of(opened(tmp_path / "a.parquet")) == SKEWED
    assert max(map(text_bytes, decoded)) <= 2 * longest
    decoded.clear()
    pq.write_table(pa.table({"text": LONG}), tmp_path / "b.parquet", use_dictionary=False)
    assert texts_of(opened(tmp_path / "b.parquet")) == LONG
    assert max(map(text_bytes, decoded)) <= BOUND, "rows of equal length stay within the bound"


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "common prefixes left out"])
def test_short_rows_are_read_many_at_once(tmp_path: Path, decoded: list[pa.Array], layout: str) -> None:
    texts = [f"sentence {i % 900}" for i in range(3000)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", **LAYOUTS[layout])
    assert texts_of(opened(tmp_path / "a.parquet")) == texts
    assert max(map(len, decoded)) == rows_parquet.STEP_ROWS


def test_memory_stays_bounded_with_huge_rows_among_short_rows(tmp_path: Path, bound: None) -> None:
    """64 rows of 1 MiB, each in its own page and among short rows, are read with less than 8 MiB."""
    huge = ["x" * (1 << 20) for _ in range(64)]
    layout = LAYOUTS["pages of one row"] | {"compression": "none"}
    pq.write_table(pa.table({"text": ["short"] * 3000 + huge + ["short"] * 3000}), tmp_path / "a.parquet", **layout)
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        lengths = [len(text or "") for batch in opened(tmp_path / "a.parquet").batches() for text in batch.to_pylist()]
    finally:
        pa.set_memory_pool(before)
    assert sum(lengths) == 64 * (1 << 20) + 6000 * 5
    assert pool.max_memory() < 8 << 20


def test_the_fingerprint_of_a_folder_has_not_changed(tmp_path: Path) -> None:
    """Earlier runs and caches are found by this fingerprint."""
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["b"]}), tmp_path / "b.parquet")
    digests = [sha256_of_file(tmp_path / f"{name}.parquet") for name in ("a", "b")]
    assert opened(tmp_path).fingerprint == fingerprint(["parquet", digests])
