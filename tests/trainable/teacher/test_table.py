"""Claims about the use of a bigram table: rows, pairs, cross-entropy, and dtypes of arrays. V vocabulary, N pairs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tables import IDS, V, all_pairs, counted, dense, random_stream

from trainable.errors import InputError
from trainable.teacher import table as bigram
from trainable.teacher.counts import count_bigrams
from trainable.teacher.kinds.shuffled import shuffled
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import ARRAYS, cross_entropy, cut_rows, probabilities

streams = st.lists(st.integers(0, V - 1), min_size=1, max_size=80)


@given(streams, st.sampled_from(["mle", "modified_kneser_ney"]))
@settings(max_examples=40)
def test_probabilities_of_pairs_are_those_of_the_rows(tokens, smoothing):
    table = estimate_table(counted(tokens), smoothing, **IDS)
    prev_N, next_N = all_pairs()
    np.testing.assert_allclose(
        probabilities(table, prev_N, next_N), np.minimum(dense(table), 1)[prev_N, next_N], atol=1e-12
    )


@given(streams, st.lists(st.integers(0, V - 1), max_size=12), st.sampled_from([np.int64, np.int32, np.uint16]))
@settings(max_examples=40)
def test_cut_rows_are_the_rows_of_the_table_in_the_order_asked(tokens, contexts, dtype):
    table = estimate_table(counted(tokens), "witten_bell", **IDS)
    indptr_C1, indices_Z, values_Z = cut_rows(table, np.array(contexts, np.int64), dtype)
    assert (indptr_C1.dtype, indices_Z.dtype, values_Z.dtype) == (np.int64, dtype, np.float32)
    assert len(indptr_C1) == len(contexts) + 1
    for i, context in enumerate(contexts):
        got_V = table.backoff_V[context] * table.base_V.astype(np.float64)
        got_V[indices_Z[indptr_C1[i] : indptr_C1[i + 1]]] += values_Z[indptr_C1[i] : indptr_C1[i + 1]]
        np.testing.assert_array_equal(got_V, table.row(context))


def test_cross_entropy_is_the_mean_of_minus_log_p_whatever_the_chunks(monkeypatch):
    table, tokens = estimate_table(counted(random_stream()), "modified_kneser_ney", **IDS), random_stream(1)
    expected = -np.log(dense(table)[tokens[:-1], tokens[1:]]).mean()
    assert cross_entropy(table, tokens[:-1], tokens[1:]) == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr(bigram, "CHUNK_PAIRS", 7)
    assert cross_entropy(table, tokens[:-1], tokens[1:]) == pytest.approx(expected, rel=1e-12)


def test_ids_outside_the_table_are_refused():
    table, good, bad = estimate_table(counted([1]), "mle", **IDS), np.array([1]), np.array([-1])
    for call in (
        lambda: probabilities(table, bad, good),
        lambda: probabilities(table, good, bad + V + 1),
        lambda: cut_rows(table, bad),
    ):
        with pytest.raises(InputError, match="outside the bigram table's vocabulary of 9 tokens"):
            call()


def test_a_table_in_read_only_memory_works_and_is_not_written_to():
    table = estimate_table(counted(random_stream()), "modified_kneser_ney", **IDS)
    before = table.checksum
    for name in ARRAYS:
        getattr(table, name).flags.writeable = False
    prev_N, next_N = all_pairs()
    probabilities(table, prev_N, next_N)
    table.row(1)
    shuffled(table, 0)
    indptr_C1, _, values_Z = cut_rows(table, prev_N[:1])
    values_Z += 1  # a copy
    indptr_C1 += 1
    assert table.checksum == before


@pytest.mark.parametrize("vocab_size", [65_536, 65_537])
def test_columns_are_as_narrow_as_the_vocabulary_allows(vocab_size):
    last = vocab_size - 1
    table = estimate_table(count_bigrams(np.array([last, last, 0]), vocab_size, first_context=0), "mle", **IDS)
    assert table.indices.dtype == (np.uint16 if vocab_size == 65_536 else np.int32)
    assert probabilities(table, np.array([last]), np.array([last])) == [0.5]


def test_arrays_that_do_not_fit_together_are_refused():
    table = estimate_table(counted([1, 2]), "mle", **IDS)
    for changes in (
        {"indices": table.indices[:-1]},
        {"backoff_V": table.backoff_V.astype(np.float64)},
        {"indptr": table.indptr * 0},
    ):
        with pytest.raises(InputError, match="bigram table"):
            replace(table, **changes)
