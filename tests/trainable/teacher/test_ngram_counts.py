"""Claims about trainable/teacher/ngram_counts.py. E eos, V vocabulary, M order; in a record V means "nothing"."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.errors import InputError
from trainable.teacher import ngram_counts
from trainable.teacher.counts import count_bigrams, count_blocks
from trainable.teacher.ngram_counts import NgramCounts, Packing, count_block_ngrams, count_ngrams, tokens_before
from trainable.text.workers import LOCAL

V = 7
EOS = 2
token = st.integers(0, V - 1)
stream = st.lists(token, max_size=60)
row = st.lists(token.filter(lambda t: t != EOS), max_size=8).map(lambda words: [*words, EOS])
rows = st.lists(row, max_size=12)
orders = st.sampled_from([2, 3, 4, 5])


@pytest.fixture(params=[64, 12, 9], ids=["one word", "two words", "two words, the first full"])
def _word_bits(request, monkeypatch):
    """Set the size of a word: it holds all digits of a record, four digits, or three digits."""
    monkeypatch.setattr(ngram_counts, "WORD_BITS", request.param)


def counted(tokens, order=3, vocab_size=V, dtype=np.uint16, **options):
    return count_ngrams(np.array(tokens, dtype), vocab_size, order, eos_id=EOS, **options)


def as_dict(counts: NgramCounts) -> dict[tuple[int, ...], int]:
    records = map(tuple, counts.packing.symbols_KxM(counts.words).tolist())
    return dict(zip(records, counts.counts_K.tolist(), strict=True))


def record(before: list[int], token: int, order: int) -> tuple[int, ...]:
    """The record of a token: "nothing" as padding, the tokens before it back to the last eos, and the token itself."""
    history: list[int] = []
    for t in reversed(before[-(order - 1) :]):
        history.insert(0, t)
        if t == EOS:
            break
    return (*[V] * (order - 1 - len(history)), *history, token)


def naive(tokens, order) -> dict[tuple[int, ...], int]:
    whole = [EOS, *tokens]
    return dict(Counter(record(whole[:i], whole[i], order) for i in range(1, len(whole))))


def test_counts_by_hand():
    assert as_dict(counted([1, 3, 4, EOS, EOS, 1, 3], order=3)) == {
        (V, EOS, 1): 2,
        (EOS, 1, 3): 2,
        (1, 3, 4): 1,
        (3, 4, EOS): 1,
        (V, EOS, EOS): 1,
    }


@pytest.mark.usefixtures("_word_bits")
@given(stream, orders, st.integers(1, 9), st.integers(1, 3))
def test_counts_of_a_stream_equal_those_by_a_dictionary_whatever_the_chunks_threads_and_words(
    tokens, order, chunk, threads
):
    assert as_dict(counted(tokens, order, chunk_tokens=chunk, threads=threads)) == naive(tokens, order)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_ngram_is_lost_between_slices_of_the_cache_or_between_threads(monkeypatch, threads):
    tokens = np.random.default_rng(0).zipf(1.5, 3000) % V
    monkeypatch.setattr("trainable.teacher.counts.CACHED_TOKENS", 13)
    assert as_dict(counted(tokens, 4, chunk_tokens=997, threads=threads)) == naive(tokens.tolist(), 4)


@pytest.mark.usefixtures("_word_bits")
@given(stream, orders)
def test_records_are_ascending_and_distinct_and_every_token_is_counted_once(tokens, order):
    counts = counted(tokens, order, chunk_tokens=5)
    records = list(as_dict(counts))
    assert records == sorted(set(records))
    assert (counts.counts_K > 0).all()
    assert counts.total == len(tokens)
    assert all(EOS not in record[1:-1] or record[record.index(EOS) - 1] == V for record in records if order > 2)


@given(stream)
def test_order_2_counts_the_bigrams(tokens):
    bigrams = count_bigrams(np.array(tokens, np.uint16), V, first_context=EOS)
    pairs = zip(bigrams.prev_K.tolist(), bigrams.next_K.tolist(), strict=True)
    assert as_dict(counted(tokens, 2)) == dict(zip(pairs, bigrams.counts_K.tolist(), strict=True))


@given(stream, orders, st.integers(1, 20))
def test_pieces_with_the_tokens_before_them_add_up_to_the_stream(tokens, order, size):
    """The sum by `Workers.sum` is exact; a piece is (tokens before the piece, tokens of the piece)."""
    stream_N = np.array(tokens, np.uint16)
    firsts = range(0, max(1, len(tokens)), size)
    pieces = [(tokens_before(stream_N, i, order, EOS), stream_N[i : i + size]) for i in firsts]
    counts = LOCAL.sum(lambda piece: count_ngrams(piece[1], V, order, eos_id=EOS, before=piece[0]), pieces)
    assert counts == counted(tokens, order)


@pytest.mark.usefixtures("_word_bits")
@given(rows, rows, orders)
def test_counts_of_the_whole_minus_a_fold_are_the_counts_of_the_rest_bit_for_bit(fold, rest, order):
    fold_counts, rest_counts = (counted([t for r in part for t in r], order) for part in (fold, rest))
    whole = counted([t for r in [*fold, *rest] for t in r], order)
    assert fold_counts + rest_counts == whole
    assert whole - fold_counts == rest_counts
    assert whole - whole == NgramCounts.empty(V, order, EOS)
    assert whole + NgramCounts.empty(V, order, EOS) == whole


@given(
    st.lists(st.tuples(st.lists(token, min_size=6, max_size=6), st.integers(0, 6)), max_size=9),
    orders,
    st.integers(1, 30),
)
def test_blocks_count_only_records_inside_their_length(blocks, order, chunk_tokens):
    ids_BxT = np.array([ids for ids, _ in blocks], np.int32).reshape(-1, 6)
    lengths_B = np.array([length for _, length in blocks], np.int64)
    expected = Counter(record(ids[:i], ids[i], order) for ids, length in blocks for i in range(1, length))
    counts = count_block_ngrams(ids_BxT, lengths_B, V, order, eos_id=EOS, chunk_tokens=chunk_tokens)
    assert as_dict(counts) == expected
    if order == 2:
        assert np.array_equal(counts.counts_K, count_blocks(ids_BxT, lengths_B, V).counts_K)


def test_padding_outside_the_vocabulary_is_ignored():
    counts = count_block_ngrams(np.array([[1, 3, -100], [3, 99, 99]]), np.array([2, 1]), V, 3, eos_id=EOS)
    assert as_dict(counts) == {(V, 1, 3): 1}


@pytest.mark.parametrize(("vocab_size", "order"), [(60_000, 5), (65_535, 4), (65_536, 4), (200_000, 5), (2_000_000, 5)])
def test_the_largest_records_fit_their_words(vocab_size, order):
    last = vocab_size - 1
    tokens = [last] * (order + 1) + [0, last, last]
    counts = counted(tokens, order, vocab_size, np.int64)
    assert len(counts.words) == (1 if (vocab_size, order) == (65_535, 4) else 2)
    expected = naive(tokens, order)  # V, 7, means "nothing" here, and no token is 7
    assert as_dict(counts) == {tuple(vocab_size if t == V else t for t in r): n for r, n in expected.items()}


def test_a_vocabulary_too_large_for_two_words_is_refused():
    with pytest.raises(InputError, match="do not fit two words"):
        Packing(5, 1 << 33).sizes  # noqa: B018


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int32, np.int64, np.uint64])
def test_every_integer_type_of_token_ids_counts_alike_and_stays_as_it_was(dtype):
    stream_N = np.array([1, 3, 3, EOS, 6, EOS], dtype)
    stream_N.flags.writeable = False
    assert as_dict(count_ngrams(stream_N, V, 3, eos_id=EOS)) == naive([1, 3, 3, EOS, 6, EOS], 3)


@pytest.mark.parametrize("bad", [[1, V], [V, 1], [-1, 1], [1, 2**20]])
@pytest.mark.parametrize("chunk_tokens", [1, 10])
def test_an_id_outside_the_vocabulary_is_refused(bad, chunk_tokens):
    with pytest.raises(InputError, match="outside the vocabulary of 7 tokens"):
        counted([1, 1, 1, *bad], dtype=np.int64, chunk_tokens=chunk_tokens)
    with pytest.raises(InputError, match="outside the vocabulary of 7 tokens"):
        count_block_ngrams(np.array([bad]), np.array([2]), V, 3, eos_id=EOS)
    with pytest.raises(InputError, match="outside the vocabulary of 7 tokens"):
        counted([1], before=np.array(bad))


def test_orders_lengths_and_beginnings_that_do_not_fit_are_refused():
    for order in (1, 6):
        with pytest.raises(InputError, match="choose 2 to 5"):
            counted([1], order)
    with pytest.raises(InputError, match="outside 0 to 3"):
        count_block_ngrams(np.array([[1, 2, 3]]), np.array([4]), V, 3, eos_id=EOS)
    with pytest.raises(InputError, match="at least one"):
        counted([1], before=np.array([], np.int64))


@pytest.mark.parametrize("fold", [[1, 1, 1], [1, 5], [6, 6]])
def test_subtracting_what_was_not_counted_is_refused(fold):
    with pytest.raises(InputError, match="not part of the whole"):
        counted([1, 1, 3]) - counted(fold)


@pytest.mark.parametrize("other", [counted([1], order=4), counted([1], vocab_size=8)])
def test_counts_of_different_orders_or_vocabularies_are_not_combined(other):
    for combine in (NgramCounts.__add__, NgramCounts.__sub__):
        with pytest.raises(InputError, match="cannot be combined"):
            combine(counted([1]), other)
