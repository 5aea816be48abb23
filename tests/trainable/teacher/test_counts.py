"""Claims about trainable/teacher/counts.py. E eos, V vocabulary."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainable.errors import InputError
from trainable.teacher import counts as counts_module
from trainable.teacher.counts import BigramCounts, add_all, count_bigrams, count_blocks, key_dtype

V = 7
EOS = 2
token = st.integers(0, V - 1)
stream = st.lists(token, max_size=60)
row = st.lists(token.filter(lambda t: t != EOS), max_size=8).map(lambda words: [*words, EOS])
rows = st.lists(row, max_size=12)


def counted(tokens, vocab_size=V, dtype=np.uint16, **options):
    return count_bigrams(np.array(tokens, dtype), vocab_size, first_context=EOS, **options)


def as_dict(counts: BigramCounts) -> dict[tuple[int, int], int]:
    return dict(
        zip(zip(counts.prev_K.tolist(), counts.next_K.tolist(), strict=True), counts.counts_K.tolist(), strict=True)
    )


def naive(tokens) -> dict[tuple[int, int], int]:
    return dict(Counter(pairwise([EOS, *tokens])))


@given(stream, st.integers(1, 9), st.integers(1, 3))
def test_counts_of_a_stream_equal_those_by_a_dictionary_whatever_the_chunks_and_threads(tokens, chunk_tokens, threads):
    assert as_dict(counted(tokens, chunk_tokens=chunk_tokens, threads=threads)) == naive(tokens)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_bigram_is_lost_between_slices_of_the_cache_or_between_threads(monkeypatch, threads):
    tokens = np.random.default_rng(0).zipf(1.5, 5000) % V
    monkeypatch.setattr(counts_module, "CACHED_TOKENS", 13)
    assert as_dict(counted(tokens, chunk_tokens=997, threads=threads)) == naive(tokens.tolist())


@given(stream)
def test_keys_are_ascending_and_distinct_and_every_token_is_counted_once(tokens):
    counts = counted(tokens, chunk_tokens=5)
    assert (counts.keys_K[1:] > counts.keys_K[:-1]).all()
    assert (counts.counts_K > 0).all()
    assert counts.total == len(tokens)
    assert counts.counts_K.dtype == np.int64


@given(stream, st.integers(1, 9), st.integers(1, 3))
def test_a_row_sums_to_how_often_its_context_stood_before_a_token(tokens, chunk_tokens, threads):
    counts = counted(tokens, chunk_tokens=chunk_tokens, threads=threads)
    sums_V = np.bincount(counts.prev_K, counts.counts_K, V)
    assert sums_V.tolist() == np.bincount([EOS, *tokens][: len(tokens)], minlength=V).tolist()


@given(rows)
def test_counts_of_rows_joined_are_the_sum_of_the_counts_of_each_row(row_list):
    joined = counted([t for r in row_list for t in r])
    assert add_all((counted(r) for r in row_list), V) == joined


@given(rows, rows)
def test_counts_of_the_whole_minus_a_fold_are_the_counts_of_the_rest(fold, rest):
    fold_counts, rest_counts = (counted([t for r in part for t in r]) for part in (fold, rest))
    whole = counted([t for r in [*fold, *rest] for t in r])
    assert whole - fold_counts == rest_counts
    assert whole - whole == BigramCounts.empty(V)


@given(stream, stream)
def test_subtraction_undoes_addition_and_addition_commutes(one, other):
    a, b = counted(one), counted(other)
    assert a + b == b + a
    assert (a + b) - b == a
    assert a + BigramCounts.empty(V) == a


@given(st.lists(st.tuples(st.lists(token, min_size=6, max_size=6), st.integers(0, 6)), max_size=9), st.integers(1, 30))
def test_blocks_count_only_pairs_inside_their_length(blocks, chunk_tokens):
    ids_BxT = np.array([ids for ids, _ in blocks], np.int32).reshape(-1, 6)
    lengths_B = np.array([length for _, length in blocks], np.int64)
    expected = Counter(pair for ids, length in blocks for pair in pairwise(ids[:length]))
    assert as_dict(count_blocks(ids_BxT, lengths_B, V, chunk_tokens=chunk_tokens)) == expected


def test_padding_outside_the_vocabulary_is_ignored():
    counts = count_blocks(np.array([[1, 2, -100], [3, 99, 99]]), np.array([2, 1]), V)
    assert as_dict(counts) == {(1, 2): 1}


@pytest.mark.parametrize("vocab_size", [65_535, 65_536, 70_000])
def test_the_largest_pair_of_a_vocabulary_fits_its_key(vocab_size):
    last = vocab_size - 1
    counts = counted([last, last, 0, last], vocab_size, np.int64)
    assert as_dict(counts) == {(EOS, last): 1, (last, last): 1, (last, 0): 1, (0, last): 1}
    assert counts.keys_K.dtype == (np.uint32 if vocab_size == 65_535 else np.uint64)
    assert int(counts.keys_K.max()) == vocab_size**2 - 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int32, np.int64, np.uint64])
def test_every_integer_type_of_token_ids_counts_alike(dtype):
    tokens = [1, 3, 3, EOS, 6, EOS]
    assert as_dict(counted(tokens, dtype=dtype)) == naive(tokens)


def test_a_tensor_counts_like_an_array() -> None:
    ids_N = np.array([1, 2, 0, 2, 1, 2])
    ours = count_bigrams(torch.from_numpy(ids_N), 3, first_context=0)  # type: ignore[arg-type]
    assert ours == count_bigrams(ids_N, 3, first_context=0)


def test_counting_leaves_the_stream_as_it_was():
    stream_N = np.array([1, 3, 3, EOS], key_dtype(V))
    stream_N.flags.writeable = False
    count_bigrams(stream_N, V, first_context=EOS)
    assert stream_N.tolist() == [1, 3, 3, EOS]


@pytest.mark.parametrize("bad", [[1, V], [V, 1], [-1, 1], [1, 2**20]])
@pytest.mark.parametrize("chunk_tokens", [1, 10])
def test_an_id_outside_the_vocabulary_is_refused(bad, chunk_tokens):
    with pytest.raises(InputError, match="outside the vocabulary of 7 tokens"):
        counted(bad, dtype=np.int64, chunk_tokens=chunk_tokens)
    with pytest.raises(InputError, match="outside the vocabulary of 7 tokens"):
        count_blocks(np.array([bad]), np.array([2]), V)


def test_a_first_context_outside_the_vocabulary_is_refused():
    with pytest.raises(InputError, match="token id 9 is outside"):
        count_bigrams(np.array([1]), V, first_context=9)


def test_a_length_beyond_the_block_is_refused():
    with pytest.raises(InputError, match="outside 0 to 3"):
        count_blocks(np.array([[1, 2, 3]]), np.array([4]), V)


@pytest.mark.parametrize("fold", [[1, 1, 1], [1, 5], [6, 6]])
def test_subtracting_what_was_not_counted_is_refused(fold):
    with pytest.raises(InputError, match="not part of the whole"):
        counted([1, 1, 3]) - counted(fold)


def test_counts_of_two_vocabularies_are_not_combined():
    for combine in (BigramCounts.__add__, BigramCounts.__sub__):
        with pytest.raises(InputError, match="over 7 and 8 tokens"):
            combine(counted([1]), counted([1], vocab_size=8))
