"""Claims about trainable/teacher/ngram_table.py and its file: rows found and cut, probabilities, damage refused.

V vocabulary, M order, B blocks, T tokens of a block.
"""

import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tables import IDS, counted, random_stream

from trainable.errors import DamagedFile, InputError
from trainable.teacher import ngram_table
from trainable.teacher.kneser_ney import estimate_ngrams
from trainable.teacher.ngram_counts import count_ngrams
from trainable.teacher.ngram_table import (
    Level,
    NgramTable,
    cross_entropy,
    cut,
    distinct_rows,
    find_rows,
    probabilities,
    whole_level,
)
from trainable.teacher.ngram_table_file import load_ngrams, save_ngrams
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import save_table

V = 9
EOS = 2
token = st.integers(0, V - 1)
streams = st.lists(token, min_size=1, max_size=80)
orders = st.sampled_from([2, 3, 4, 5])
blocks = st.lists(st.lists(token, min_size=7, max_size=7), min_size=1, max_size=5).map(np.array)


def estimated(tokens, order=3, vocab_size=V, **options) -> NgramTable:
    counts = count_ngrams(np.array(tokens, np.int64), vocab_size, order, eos_id=EOS)
    return estimate_ngrams(counts, **options, **IDS)


@cache
def small_table(order=4, min_count=1) -> NgramTable:
    return estimated(random_stream(), order, min_count=min_count)


def history_of(table: NgramTable, level: int, row: int) -> list[int]:
    """The history of a row, read from the place of the row in the trie."""
    history: list[int] = []
    for above in reversed(table.levels[:level]):
        history.insert(0, int(above.columns[row]))
        row = int(np.searchsorted(above.indptr, row, side="right")) - 1
    return [row, *history]


def dense(rows, number: int, base_V) -> np.ndarray:
    """The distribution of a cut row, by recursion through its parents."""
    if number < 0:
        return base_V.astype(np.float64)
    row_V = rows.lambda_C[number] * dense(rows, int(rows.parent_C[number]), base_V)
    span = slice(rows.indptr[number], rows.indptr[number + 1])
    row_V[rows.columns[span]] += rows.values[span]
    return row_V


# --- found and cut ----------------------------------------------------------------------------------------------------


@given(streams, orders, blocks, st.sampled_from([1, 2]))
@settings(max_examples=60)
def test_find_rows_finds_the_row_of_the_last_tokens_and_misses_no_row(tokens, order, ids_BxT, min_count):
    table = estimated(tokens, order, min_count=min_count)
    known = {
        tuple(history_of(table, i, row)): row
        for i, level in enumerate(table.levels)
        for row in np.flatnonzero(np.diff(level.indptr.astype(np.int64))).tolist()
    }
    row_MxBxT = find_rows(table, ids_BxT)
    assert row_MxBxT.shape == (order - 1, *ids_BxT.shape)
    for b, t in np.ndindex(ids_BxT.shape):
        for m in range(1, order):
            history = tuple(ids_BxT[b, t + 1 - m : t + 1].tolist()) if m <= t + 1 else ()
            wanted = known.get(history, -1) if EOS not in history[1:] else -1
            assert row_MxBxT[m - 1, b, t] == wanted


@given(streams, orders, blocks, st.sampled_from([1, 2]))
@settings(max_examples=60)
def test_cut_rows_give_every_position_its_distribution(tokens, order, ids_BxT, min_count):
    table = estimated(tokens, order, min_count=min_count)
    rows = cut(table, find_rows(table, ids_BxT))
    for b, t in np.ndindex(ids_BxT.shape):
        np.testing.assert_array_equal(
            dense(rows, int(rows.row_BxT[b, t]), table.base_V), table.row(ids_BxT[b, : t + 1])
        )


@given(streams, orders, blocks)
@settings(max_examples=30)
def test_cut_rows_are_distinct_and_each_parent_is_one_level_before_its_children(tokens, order, ids_BxT):
    table = estimated(tokens, order)
    row_MxBxT = find_rows(table, ids_BxT)
    rows = cut(table, row_MxBxT)
    assert (rows.columns.dtype, rows.values.dtype, rows.lambda_C.dtype) == (np.int32, np.float32, np.float32)
    assert len(rows.bounds) == order and rows.bounds[-1] == len(rows.lambda_C) == len(rows.indptr) - 1
    assert rows.bounds[-1] == sum(len(np.unique(level[level >= 0])) for level in row_MxBxT)
    assert rows.indptr[-1] == len(rows.columns) == len(rows.values)
    for m, (first, end) in enumerate(zip(rows.bounds, rows.bounds[1:], strict=False)):
        parent_c = rows.parent_C[first:end]
        if m == 0:
            assert (parent_c == -1).all()
        else:
            assert ((rows.bounds[m - 1] <= parent_c) & (parent_c < first)).all()
    sums_C = np.add.reduceat(rows.values.astype(np.float64), rows.indptr[:-1]) if rows.bounds[-1] else np.zeros(0)
    np.testing.assert_allclose(sums_C + rows.lambda_C, 1, atol=1e-6)


@pytest.mark.parametrize("long_rows", [0, 10_000])
def test_rows_gathered_by_slices_and_by_index_are_the_same(monkeypatch, long_rows):
    table, ids_BxT = small_table(5, 2), random_stream(1, 60).reshape(4, 15)
    expected = cut(table, find_rows(table, ids_BxT))
    monkeypatch.setattr(ngram_table, "LONG_ROWS", long_rows)
    found = cut(table, find_rows(table, ids_BxT))
    for name in ("indptr", "columns", "values", "lambda_C", "parent_C", "row_BxT"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype


@given(streams, orders, st.sampled_from([1, 2]), st.sampled_from([1, 3, 1 << 20]))
@settings(max_examples=40)
def test_whole_levels_have_the_values_and_lambdas_of_cut_rows(tokens, order, min_count, chunk):
    """Whatever the number of entries computed at once."""
    table, ids_BxT = estimated(tokens, order, min_count=min_count), np.array([tokens])
    row_MxBxT = find_rows(table, ids_BxT)
    rows, distinct = cut(table, row_MxBxT), distinct_rows(row_MxBxT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngram_table, "CHUNK_ENTRIES", chunk)
        whole = [whole_level(level, table.discounts[i]) for i, level in enumerate(table.levels, 1)]
    place = 0
    for level, rows_C, (values_K, lambda_R) in zip(table.levels, distinct.rows, whole, strict=True):
        for row in rows_C.tolist():
            expected = rows.values[rows.indptr[place] : rows.indptr[place + 1]]
            np.testing.assert_array_equal(values_K[level.indptr[row] : level.indptr[row + 1]], expected)
            assert lambda_R[row] == rows.lambda_C[place]
            place += 1
    assert place == len(rows.lambda_C)


def test_histories_never_reach_across_an_eos_or_out_of_the_block():
    table = estimated([1, 3, 4, EOS, 3, 4, 1] * 5, 4)
    row_MxBxT = find_rows(table, np.array([[1, 3, EOS, 3, 4], [3, 4, 1, EOS, EOS]]))
    seen = (row_MxBxT >= 0).sum(0)  # length of the longest history that has a row
    assert seen.tolist() == [[1, 2, 1, 2, 3], [1, 2, 3, 1, 1]]


def test_an_empty_block_and_positions_without_a_row_can_be_cut():
    table = estimated([1, 1], 3)
    for ids_BxT in (np.zeros((0, 4), np.int64), np.zeros((2, 0), np.int64), np.array([[5, 6]])):
        rows = cut(table, find_rows(table, ids_BxT))
        assert rows.row_BxT.shape == ids_BxT.shape
        assert (rows.row_BxT == -1).all()
        assert (rows.indptr.tolist(), rows.bounds) == ([0], (0, 0, 0))


# --- looked up --------------------------------------------------------------------------------------------------------


@given(streams, orders, blocks, st.sampled_from([1, 2]), st.data())
@settings(max_examples=60)
def test_probabilities_are_those_of_the_rows_and_padding_has_none(tokens, order, ids_BxT, min_count, data):
    table = estimated(tokens, order, min_count=min_count)
    lengths_B = np.array([data.draw(st.integers(0, 7)) for _ in ids_BxT])
    padded_BxT = np.where(np.arange(7) < lengths_B[:, None], ids_BxT, -100)
    p_BxT = probabilities(table, padded_BxT, lengths_B)
    assert p_BxT.shape == (len(ids_BxT), 6)
    for b, t in np.ndindex(p_BxT.shape):
        if t + 1 < lengths_B[b]:
            expected = table.row(ids_BxT[b, : t + 1])[ids_BxT[b, t + 1]]
            assert p_BxT[b, t] == pytest.approx(expected, rel=1e-6, abs=1e-7)
        else:
            assert np.isnan(p_BxT[b, t])


def test_cross_entropy_is_the_mean_of_minus_log_p_whatever_the_chunks(monkeypatch):
    table, ids_BxT = small_table(), random_stream(1).reshape(20, 20)
    lengths_B = np.arange(20)
    p_BxT = probabilities(table, ids_BxT)
    assert cross_entropy(table, ids_BxT) == pytest.approx(-np.log(p_BxT).mean(), rel=1e-12)
    expected = -np.nanmean(np.log(probabilities(table, ids_BxT, lengths_B)))
    for positions in (1, 50, 1 << 16):
        monkeypatch.setattr(ngram_table, "CHUNK_POSITIONS", positions)
        assert cross_entropy(table, ids_BxT, lengths_B) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(cross_entropy(table, ids_BxT[:, :1]))


def test_ids_outside_the_table_are_refused():
    for bad in (-1, V):
        for call in (find_rows, probabilities):
            with pytest.raises(InputError, match="outside the n-gram table's vocabulary of 9 tokens"):
                call(small_table(), np.array([[1, bad]]))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_token_ids_of_every_type_find_the_same_rows(dtype):
    ids_BxT = random_stream(1, 40).reshape(2, 20)
    np.testing.assert_array_equal(find_rows(small_table(), ids_BxT.astype(dtype)), find_rows(small_table(), ids_BxT))


@pytest.mark.parametrize("vocab_size", [65_536, 65_537])
def test_columns_are_as_narrow_as_the_vocabulary_allows(vocab_size):
    last = vocab_size - 1
    table = estimated([last, last, 0, last, last, 0], 5, vocab_size)
    assert all(level.columns.dtype == (np.uint16 if vocab_size == 65_536 else np.int32) for level in table.levels)
    row_V = table.row(np.array([last, last]))
    assert row_V.sum() == pytest.approx(1, abs=1e-6)
    assert row_V.argmax() == 0
    assert probabilities(table, np.array([[last, last, 0]]))[0, 1] == pytest.approx(row_V[0], rel=1e-6)


def test_a_table_in_read_only_memory_works_and_is_not_written_to():
    table = estimated(random_stream(), 4, min_count=2)
    before = table.checksum
    for array in table.arrays.values():
        array.flags.writeable = False
    rows = cut(table, find_rows(table, random_stream(1)[None]))
    for array in (rows.indptr, rows.columns, rows.values, rows.lambda_C):
        array += 1  # a copy
    probabilities(table, random_stream(1)[None])
    assert table.checksum == before


def test_arrays_that_do_not_fit_together_are_refused():
    table = small_table()
    first, second, third = table.levels
    for changes in (
        {"levels": (first, second)},
        {"levels": (first, third, second)},
        {"base_V": table.base_V.astype(np.float64)},
        {"base_V": table.base_V[1:]},
        {"vocab_size": V + 1},
        {"discounts": table.discounts[1:]},
    ):
        with pytest.raises(InputError, match="n-gram table"):
            replace(table, **changes)
    for changes in (
        {"columns": first.columns[1:]},
        {"codes": first.codes[1:]},
        {"indptr": first.indptr * 0},
        {"indptr": first.indptr.astype(np.int64)},
        {"pruned_R": np.zeros(3, np.uint16)},
    ):
        with pytest.raises(InputError, match="n-gram table"):
            replace(first, **changes)


# --- its file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("min_count", [1, 2])
@pytest.mark.parametrize("order", [2, 5])
def test_a_loaded_table_equals_the_saved_one(tmp_path, order, min_count):
    table = small_table(order, min_count)
    save_ngrams(table, tmp_path / "teacher" / "table.ngrams")
    loaded = load_ngrams(tmp_path / "teacher" / "table.ngrams", expect_tokenizer="abc")
    assert list(loaded.arrays) == list(table.arrays)
    for name, array in loaded.arrays.items():
        np.testing.assert_array_equal(array, table.arrays[name])
        assert array.dtype == table.arrays[name].dtype
        assert not array.flags.writeable
        assert array.flags.aligned
    assert all(getattr(loaded, name) == getattr(table, name) for name in ngram_table.FACTS)
    assert loaded.checksum == table.checksum
    np.testing.assert_array_equal(loaded.row(np.array([1, 0])), table.row(np.array([1, 0])))


def test_the_file_ends_with_the_checksum_and_equal_tables_make_equal_files(tmp_path):
    save_ngrams(small_table(), tmp_path / "a")
    save_ngrams(load_ngrams(tmp_path / "a"), tmp_path / "b")
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert content[-32:].hex() == small_table().checksum
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_the_checksum_of_a_fixed_table_stays():
    """The checksum of a fixed table stays. If not, raise the format's version, or old files will look damaged."""

    def level(indptr, columns, codes, count_L, pruned_R) -> Level:
        return Level(
            indptr=np.array(indptr, np.uint32),
            columns=np.array(columns, np.uint16),
            codes=np.array(codes, np.uint16),
            count_L=np.array(count_L),
            pruned_R=None if pruned_R is None else np.array(pruned_R, np.uint16),
        )

    table = NgramTable(
        levels=(
            level([0, 2, 2, 3], [0, 2, 1], [0, 1, 0], [1, 4], None),
            level([0, 1, 1, 2], [1, 0], [0, 0], [2], [0, 3, 0]),
        ),
        base_V=np.array([0.5, 0.25, 0.25], np.float32),
        order=3,
        vocab_size=3,
        eos_id=2,
        smoothing="by hand",
        tokenizer_fingerprint="abc",
        counted_tokens=7,
        rows="student",
        discounts=((0.5, 1.0, 1.5),) * 3,
        ngrams=(3, 3, 4),
    )
    assert table.checksum == "f6f67d494e395e5019f9ea7a9b301c340429a9fcc731acd671cd6511eecb85cd"


def test_a_changed_array_or_fact_changes_the_checksum_and_pickling_does_not():
    table = small_table(4, 2)
    changed = [
        replace(table, rows="all"),
        replace(table, eos_id=1),
        replace(table, counted_tokens=1),
        replace(table, discounts=table.discounts[::-1]),
        replace(table, base_V=table.base_V + 1),
    ]
    for i, level in enumerate(table.levels):
        for name, array in level.arrays.items():
            other = array.copy()
            other[1] += 1
            levels = [*table.levels]
            levels[i] = replace(level, **{name: other})
            changed.append(replace(table, levels=tuple(levels)))
    assert len({table.checksum, *(other.checksum for other in changed)}) == 1 + len(changed)
    assert pickle.loads(pickle.dumps(table, protocol=5)).checksum == table.checksum


def test_a_flipped_bit_anywhere_is_refused(tmp_path):
    """One flipped bit in any byte is found: in magic, version, facts, arrays and digest."""
    path = tmp_path / "table.ngrams"
    save_ngrams(estimated(random_stream(length=30), 3, min_count=2), path)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(InputError, match=r"table\.ngrams .*count the table again") as caught:
            load_ngrams(path)
        if at >= 12:  # after the magic and the version, which decide how the file is read
            assert isinstance(caught.value, DamagedFile)
            assert (caught.value.path, caught.value.reason) == (path, "its checksum does not match")


def test_a_file_that_is_cut_off_or_too_long_is_refused(tmp_path):
    path = tmp_path / "table.ngrams"
    save_ngrams(small_table(), path)
    content = path.read_bytes()
    for damaged in (*(content[:n] for n in range(0, len(content), 31)), content[:-1], content + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"table\.ngrams .*count the table again"):
            load_ngrams(path)


def test_a_file_with_the_right_digest_but_impossible_values_is_refused(tmp_path):
    table, path = small_table(), tmp_path / "table.ngrams"
    first = table.levels[0]
    at = int(np.argmax(np.diff(first.indptr) > 1))  # a row of two or more entries
    start = int(first.indptr[at])

    def with_first(**changes) -> NgramTable:
        return replace(table, levels=(replace(first, **changes), *table.levels[1:]))

    turned, indptr = first.columns.copy(), first.indptr.copy()
    turned[start : start + 2] = turned[start : start + 2][::-1]
    indptr[at + 1], indptr[at + 2] = indptr[at + 2] + 1, start
    for broken, reason in (
        (with_first(columns=first.columns + np.uint16(V)), "a column is outside"),
        (with_first(columns=turned), "a row does not ascend"),
        (with_first(indptr=indptr), "its rows overlap"),
        (with_first(codes=first.codes + np.uint16(len(first.count_L))), "a count is missing"),
        (with_first(count_L=first.count_L - 1), "a count is missing, or below 1"),
        (replace(table, base_V=-table.base_V), "a probability is negative"),
        (replace(table, base_V=table.base_V * np.float32("nan")), "or no number"),
        (replace(table, discounts=((1.5, 1.0, 1.0), *table.discounts[1:])), "a discount is outside"),
    ):
        save_ngrams(broken, path)
        with pytest.raises(DamagedFile, match=reason):
            load_ngrams(path)


def test_files_that_are_missing_or_of_another_kind_version_or_tokenizer_are_refused(tmp_path):
    path = tmp_path / "table.ngrams"
    with pytest.raises(InputError, match="does not exist"):
        load_ngrams(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_ngrams(tmp_path)
    save_table(estimate_table(counted(random_stream()), "mle", **IDS), path)
    with pytest.raises(InputError, match="is no n-gram table"):
        load_ngrams(path)
    save_ngrams(small_table(), path)
    with pytest.raises(InputError, match="was counted with tokenizer abc, this run has xyz"):
        load_ngrams(path, expect_tokenizer="xyz")
    replace(ngram_table.NGRAM_FILE, version=2).write(path, small_table().file_facts, small_table().arrays.values())
    with pytest.raises(InputError, match="has version 2 of the n-gram table format, this program reads 1"):
        load_ngrams(path)
