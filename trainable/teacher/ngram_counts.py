"""Exact and additive n-gram counts of order 2 to 5: how often each token follows each history of up to four tokens.

Every predicted token gives one *record*: the last M tokens up to this token, or fewer if its document begins later. A
history never reaches across an eos: after eos the history is eos alone (KenLM's <s>), so eos stands only first or last
in a record. A shorter record is filled on its left with the symbol V, "nothing". Lower orders are not counted: they are
made from the records (teacher/kneser_ney.py), after all sums and differences.

A record is one number, whose digits to the base V + 1 are its symbols, so records are counted by sorting numbers and
measuring runs. If M digits do not fit in 64 bits, the first digits stand in a word of their own, and pairs are sorted.
Counts add and subtract as bigram counts do (teacher/counts.py), so one pass over the tokens serves every fold.

    N tokens   n tokens of a chunk   K distinct records   M order   V vocabulary   B blocks   T tokens of a block
"""
# ruff: noqa: N802  (shapes in names)

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainable.errors import InputError, require
from trainable.teacher.counts import check_ids, count_keys, in_threads, slices
from trainable.text.workers import tree_sum

Ids = NDArray[np.integer[Any]]
Ints = NDArray[np.int64]
Words = tuple[NDArray[np.uint64], ...]  # one or two arrays of the same length, most significant word first

ORDERS: Final = range(2, 6)
WORD_BITS: Final = 64
CHUNK_TOKENS: Final = 1 << 26  # sorted at once if one word holds a record: 512 MiB of keys
CHUNK_TOKENS_OF_TWO_WORDS: Final = 1 << 24  # sorting pairs takes four times the memory


@dataclass(frozen=True)
class Packing:
    """N-grams of one order as numbers: `order` digits to the base V + 1, the last `sizes[-1]` of them in the last word.

    The numbers have the order of the n-grams, compared from the first token on. Digit V is "nothing".
    """

    order: int
    vocab_size: int

    @property
    def base(self) -> int:
        """Number of symbols: all tokens, and "nothing"."""
        return self.vocab_size + 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of digits in each word. Raises InputError if two words are too few, from some 2 M tokens on."""
        most = next(n for n in range(WORD_BITS, 0, -1) if self.base**n <= 1 << WORD_BITS)
        require(
            self.order <= 2 * most,
            f"n-grams of order {self.order} over {self.vocab_size} tokens do not fit two words: choose a lower order.",
        )
        return (self.order,) if self.order <= most else (self.order - most, most)

    def records(self, tokens_n: NDArray[np.uint64], eos_id: int) -> Words:
        """Records along the last axis: one that ends at each token, except at the first order - 1 tokens."""
        size, last_word = tokens_n.shape[-1] - self.order + 1, self.sizes[-1]
        digits, word_n, words = 0, np.zeros((*tokens_n.shape[:-1], size), np.uint64), []
        open_n: NDArray[np.bool_] | None = None  # where the history goes on to the left: it has no eos yet
        for back in range(self.order):
            # 1 the token `back` positions before, or nothing
            token_n = tokens_n[..., self.order - 1 - back : self.order - 1 - back + size]
            symbol_n = token_n if open_n is None else np.where(open_n, token_n, np.uint64(self.vocab_size))
            # 2 put it in the next digit; if this word is full, begin the next word
            if digits == last_word:
                words.append(word_n)
                digits, word_n = 0, np.zeros_like(word_n)
            word_n += symbol_n * np.uint64(self.base**digits)
            digits += 1
            # 3 left of an eos in the history there is nothing
            if back:
                goes_on_n = token_n != eos_id
                open_n = goes_on_n if open_n is None else open_n & goes_on_n
        return tuple([*words, word_n][::-1])

    def symbols_KxM(self, words: Words) -> Ints:
        """The n-grams as arrays of token ids, with V for "nothing"."""
        columns = [
            word_K // np.uint64(self.base**place) % np.uint64(self.base)
            for word_K, size in zip(words, self.sizes, strict=True)
            for place in reversed(range(size))
        ]
        return np.stack(columns, axis=1).astype(np.int64)

    def last(self, words: Words) -> Ints:
        """Last token of each n-gram."""
        return (words[-1] % np.uint64(self.base)).astype(np.int64)

    def without_first(self, words: Words) -> Words:
        """The n-grams without their oldest token: of the next lower order, not sorted."""
        if self.sizes[0] == 1:
            return words[1:]
        return (words[0] % np.uint64(self.base ** (self.sizes[0] - 1)), *words[1:])

    def without_last(self, words: Words) -> Words:
        """The n-grams without their last token: of the next lower order, ascending if the n-grams given ascend."""
        base = np.uint64(self.base)
        if len(words) == 1:
            return (words[0] // base,)
        carried_K = words[0] % base * np.uint64(self.base ** (self.sizes[1] - 1)) + words[1] // base
        return (carried_K,) if self.sizes[0] == 1 else (words[0] // base, carried_K)

    def oldest(self, words: Words) -> Ids:
        """First symbol of each n-gram, as uint16 if all symbols fit, else int64."""
        dtype = np.uint16 if self.base <= 1 << 16 else np.int64
        return (words[0] // np.uint64(self.base ** (self.sizes[0] - 1))).astype(dtype)

    def first_at_least(self, words: Words, symbol: int) -> int:
        """Index, in ascending n-grams, of the first n-gram whose oldest token is `symbol` or more."""
        return int(np.searchsorted(words[0], np.uint64(symbol * self.base ** (self.sizes[0] - 1))))


@dataclass(frozen=True, eq=False)
class NgramCounts:
    """Distinct records of order M and how often each occurred.

    words: the records as numbers (Packing), ascending and distinct. counts_K: int64, all positive.
    """

    words: Words
    counts_K: Ints
    order: int
    vocab_size: int
    eos_id: int

    @classmethod
    def empty(cls, vocab_size: int, order: int, eos_id: int) -> "NgramCounts":
        """Return counts without records: the zero of addition."""
        words = tuple(np.zeros(0, np.uint64) for _ in Packing(order, vocab_size).sizes)
        return cls(words, np.zeros(0, np.int64), order, vocab_size, eos_id)

    @property
    def total(self) -> int:
        """Number of predicted tokens, which is the number of records, repeats included."""
        return int(self.counts_K.sum())

    @property
    def packing(self) -> Packing:
        """Format of the records as numbers."""
        return Packing(self.order, self.vocab_size)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, NgramCounts)
            and self.kind == other.kind
            and all(np.array_equal(a, b) for a, b in zip(self.words, other.words, strict=True))
            and np.array_equal(self.counts_K, other.counts_K)
        )

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: "NgramCounts") -> "NgramCounts":
        """Return the sum of both counts. Raises InputError if order, vocabulary or eos differ."""
        return self._merged(other, other.counts_K)

    def __sub__(self, other: "NgramCounts") -> "NgramCounts":
        """Return these counts minus `other`, without records whose count becomes 0.

        Raises InputError if order, vocabulary or eos differ or if `other` is not contained in these counts.
        """
        rest = self._merged(other, -other.counts_K)
        if (rest.counts_K < 0).any():
            raise InputError(
                "cannot subtract n-gram counts that are not part of the whole: "
                "count the fold from rows that the total was counted from, with the same tokenizer."
            )
        left_K = rest.counts_K > 0
        return self._like(tuple(word_K[left_K] for word_K in rest.words), rest.counts_K[left_K])

    def _merged(self, other: "NgramCounts", others_K: Ints) -> "NgramCounts":
        """Join the records of both: own counts plus `others_K`, which are given for the records of `other`."""
        require(
            self.kind == other.kind,
            f"n-gram counts of (order, vocabulary, eos) {self.kind} and {other.kind} cannot be combined: "
            "count both with the same order and tokenizer.",
        )
        words = tuple(np.concatenate(both) for both in zip(self.words, other.words, strict=True))
        return self._like(*sums_of_equal(words, np.concatenate([self.counts_K, others_K]), self.packing))

    @property
    def kind(self) -> tuple[int, int, int]:
        """Order, vocabulary and eos; only counts of the same kind can be combined."""
        return self.order, self.vocab_size, self.eos_id

    def _like(self, words: Words, counts_K: Ints) -> "NgramCounts":
        return NgramCounts(words, counts_K, *self.kind)


def count_ngrams(
    stream_N: Ids,
    vocab_size: int,
    order: int,
    *,
    eos_id: int,
    before: Ids | None = None,
    chunk_tokens: int | None = None,
    threads: int = 1,
) -> NgramCounts:
    """Count how often each token follows each history of up to `order` - 1 tokens, for `estimate_ngrams`.

    stream_N: token ids below `vocab_size`, of any integer dtype, possibly memory-mapped. order: number of tokens in an
    n-gram, 2 to 5, the predicted token included. eos_id: the token that ends a row of text; no history reaches across
    eos. before: the tokens before the stream; for a piece of a longer stream, order - 1 of them (`tokens_before`);
    None: one eos. Counts add and subtract: if every row ends in eos, the counts of rows joined end to end are the sum
    of the counts of each row alone. threads: number of threads that count. chunk_tokens: number of tokens counted at
    once, which with the number of distinct n-grams bounds the working memory; None: a fast number.
    Raises InputError for an order out of range or a token id outside the vocabulary.
    """
    _check_order(order)
    before = np.array([eos_id]) if before is None else before
    require(len(before) > 0, "`before` has no token: give at least one, which is eos at the beginning of a stream.")
    for ids in (np.array([eos_id]), before):
        check_ids(ids, vocab_size)
    return _sum(_stream_chunks(stream_N, Packing(order, vocab_size), eos_id, before, chunk_tokens, threads))


def count_block_ngrams(
    ids_BxT: Ids, lengths_B: Ids, vocab_size: int, order: int, *, eos_id: int, chunk_tokens: int | None = None
) -> NgramCounts:
    """Count the records inside the first lengths_B[b] tokens of each block; none across blocks, none with padding.

    The first token of a block is not counted as a predicted token, because its history is not known. Raises InputError
    for a counted token id outside the vocabulary, or a length beyond the block.
    """
    _check_order(order)
    blocks, context = ids_BxT.shape
    if blocks and not (lengths_B.min() >= 0 and lengths_B.max() <= context):
        raise InputError(f"a block of {context} tokens has a length outside 0 to {context}: prepare the blocks again.")
    packing = Packing(order, vocab_size)
    step = max(1, _chunk(packing, chunk_tokens) // max(1, context + order))
    spans = pairwise([*range(0, max(1, blocks), step), blocks])
    return _sum(_count_padded(ids_BxT[i:j], lengths_B[i:j], packing, eos_id) for i, j in spans)


def tokens_before(stream_N: Ids, first: int, order: int, eos_id: int) -> Ids:
    """The order - 1 tokens before position `first` of a stream, for counting the piece that begins there."""
    start = np.array([eos_id], stream_N.dtype)
    return np.concatenate([start, stream_N[max(0, first - order + 1) : first]])[1 - order :]


def count_equal(words: Words, packing: Packing, threads: int) -> tuple[Words, Ints]:
    """Return the distinct n-grams, ascending, and the number of each; may sort the given arrays in place."""
    if len(words) == 1:
        runs = count_keys(words[0], packing.vocab_size, threads)
        return (runs.keys_K.astype(np.uint64, copy=False),), runs.counts_K
    words, _ = _ascending(words, (), packing, threads)
    starts_K = run_starts(words)
    return tuple(word_N[starts_K] for word_N in words), np.diff(starts_K, append=len(words[0]))


def sums_of_equal(words: Words, weights_N: Ints, packing: Packing, threads: int = 1) -> tuple[Words, Ints]:
    """Return the distinct n-grams, ascending, with the sum of weights of each; fast if parts of the input ascend."""
    words, (weights_N,) = _ascending(words, (weights_N,), packing, threads)
    starts_K = run_starts(words)
    sums_K = np.add.reduceat(weights_N, starts_K) if len(starts_K) else weights_N
    return tuple(word_N[starts_K] for word_N in words), sums_K


def _ascending(
    words: Words, others: tuple[Ints, ...], packing: Packing, threads: int
) -> tuple[Words, tuple[Ints, ...]]:
    """Sort n-grams, and with them other arrays that have a value for each; return copies.

    N-grams of two words are first grouped by their oldest symbol. If the first word is this symbol, the second word
    alone decides within a group. A group fits in the CPU's cache, and is sorted in linear time if its parts ascend.
    """
    if len(words) == 1:
        sorted_N = np.argsort(words[0], kind="stable")
        return (words[0][sorted_N],), tuple(other_N[sorted_N] for other_N in others)
    # 1 group: numpy sorts uint16 by radix, in linear time
    oldest_N = packing.oldest(words)
    grouped_N = np.argsort(oldest_N, kind="stable")
    size_S = np.bincount(oldest_N)
    bounds_G = np.unique(np.append(0, np.cumsum(size_S)))
    keys = tuple(word_N[grouped_N] for word_N in (words[1:] if packing.sizes[0] == 1 else words))
    others = tuple(other_N[grouped_N] for other_N in others)

    # 2 sort within each group, in place: a thread takes the groups that begin in its part
    def sort_groups(part: slice) -> None:
        first, last = np.searchsorted(bounds_G, (part.start, part.stop))
        for start, end in pairwise(bounds_G[first : last + 1].tolist()):
            if len(keys) == 1 and not others:
                keys[0][start:end].sort()
                continue
            sorted_n = np.lexsort([key_N[start:end] for key_N in reversed(keys)])
            for array_N in (*keys, *others):
                array_N[start:end] = array_N[start:end][sorted_n]

    in_threads(sort_groups, len(grouped_N), threads)
    if len(keys) == 1:
        keys = (np.repeat(np.arange(len(size_S), dtype=np.uint64), size_S), *keys)
    return keys, others


def run_starts(words: Words) -> Ints:
    """Indices at which runs of equal n-grams begin."""
    new_N = np.ones(len(words[0]), np.bool_)
    np.not_equal(words[0][1:], words[0][:-1], out=new_N[1:])
    for word_N in words[1:]:
        new_N[1:] |= word_N[1:] != word_N[:-1]
    return np.flatnonzero(new_N)


def _check_order(order: int) -> None:
    require(order in ORDERS, f"n-grams of order {order}: choose {ORDERS.start} to {ORDERS.stop - 1}.")


def _chunk(packing: Packing, chunk_tokens: int | None) -> int:
    """Number of tokens counted at once."""
    return chunk_tokens or (CHUNK_TOKENS if len(packing.sizes) == 1 else CHUNK_TOKENS_OF_TWO_WORDS)


def _sum(parts: Iterable[NgramCounts]) -> NgramCounts:
    """Return the sum of one or more counts, merged as a tree."""
    total: NgramCounts = tree_sum(parts)
    return total


def _stream_chunks(
    stream_N: Ids, packing: Packing, eos_id: int, before: Ids, chunk_tokens: int | None, threads: int
) -> Iterator[NgramCounts]:
    """Yield the counts of each chunk of the stream, of at least one chunk."""
    # 1 the tokens before the stream, as many as a history has; missing ones are nothing
    history = packing.order - 1
    before_n = np.full(history, packing.vocab_size, np.uint64)
    known = before[-history:]
    before_n[history - len(known) :] = known
    # 2 all chunks use the same buffers: new pages cost time
    chunk = _chunk(packing, chunk_tokens)
    buffers = [np.empty(min(chunk, len(stream_N)), np.uint64) for _ in packing.sizes]
    for start in range(0, max(1, len(stream_N)), chunk):
        words = tuple(buffer[: len(stream_N) - start] for buffer in buffers)
        in_threads(partial(_fill, words, stream_N, start, before_n, packing, eos_id), len(words[0]), threads)
        yield NgramCounts(*count_equal(words, packing, threads), packing.order, packing.vocab_size, eos_id)


def _fill(
    words: Words,
    stream_N: Ids,
    start: int,
    before_n: NDArray[np.uint64],
    packing: Packing,
    eos_id: int,
    part: slice,
) -> None:
    """Fill in the records of a part of the chunk that begins at position `start` of the stream."""
    for here in slices(part):
        first = start + here.start
        ids_s = stream_N[max(0, first - len(before_n)) : start + here.stop]
        check_ids(ids_s, packing.vocab_size)
        tokens_s = np.concatenate([before_n[first:], ids_s.astype(np.uint64)])
        for word_n, made_s in zip(words, packing.records(tokens_s, eos_id), strict=True):
            word_n[here] = made_s


def _count_padded(ids_BxT: Ids, lengths_B: Ids, packing: Packing, eos_id: int) -> NgramCounts:
    """Count the records inside blocks."""
    # 1 put nothing before each block
    blocks, context = ids_BxT.shape
    tokens = np.full((blocks, packing.order - 1 + context), packing.vocab_size, np.uint64)
    tokens[:, packing.order - 1 :] = ids_BxT.astype(np.uint64)
    # 2 the records of real tokens, except of the first token of each block
    place_T = np.arange(context)
    real_BxT = place_T < lengths_B[:, None]
    check_ids(ids_BxT[real_BxT], packing.vocab_size)
    words = tuple(word_BxT[real_BxT & (place_T > 0)] for word_BxT in packing.records(tokens, eos_id))
    return NgramCounts(*count_equal(words, packing, 1), packing.order, packing.vocab_size, eos_id)
