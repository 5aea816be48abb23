"""Estimate an n-gram table from counts: interpolated modified Kneser-Ney at every order, with KenLM's numbers.

    p_m(k | h) = (c(hk) - D_m(c(hk))) / total(h) + lambda(h) p_(m-1)(k | h without its oldest token)

c is the *adjusted* count. At the highest order it is the number of times that the n-gram occurred; at lower orders, the
number of different tokens that stood before the n-gram. An n-gram that begins with eos has no token before it, so its
adjusted count is the number of times that it occurred. total(h) is the sum of c over all tokens that follow h, and
lambda(h) is the share of total(h) that the discounts took. The lowest order is interpolated with 1/V. After a history
that was never seen, p is that of the shorter history. (Chen and Goodman 1998; Heafield et al. 2013.)

Each order has its own three discounts D1, D2, D3+, from its counts of counts (Chen and Goodman, eq. 26). In a small
corpus they may be undefined, because no n-gram has count 1, 2 or 3, or outside their range. Then the order takes
KenLM's fallback 0.5, 1, 1.5 (smoothing.FALLBACK_DISCOUNTS), so that nothing becomes NaN.

    K distinct n-grams of an order   R histories (rows of a level)   L distinct counts   M order   V vocabulary
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainable.errors import InputError, require
from trainable.teacher.ngram_counts import NgramCounts, Packing, Words, count_equal, run_starts, sums_of_equal
from trainable.teacher.ngram_table import Level, NgramTable
from trainable.teacher.smoothing import modified_discounts
from trainable.teacher.table import column_dtype, lower_bound

Ints = NDArray[np.int64]

SMOOTHING: Final = "modified_kneser_ney"
FREQUENT: Final = 1 << 16  # counts from here on are rare: they are looked up by search, not in an array of all counts


@dataclass(frozen=True, kw_only=True)
class Grams:
    """The n-grams of one order, ascending, with adjusted counts, and after them the records too short for this order.

    Short records begin with "nothing". They are not n-grams of this order, but lower orders need them; their count is
    the number of times that they occurred.
    """

    packing: Packing
    words: Words
    count_K: Ints
    raw_K: Ints | None  # number of times that each occurred; None: not needed

    @property
    def real(self) -> "Grams":
        """The n-grams of this order, without the short records."""
        return self[: self.packing.first_at_least(self.words, self.packing.vocab_size)]

    def __getitem__(self, part: slice | NDArray[np.bool_]) -> "Grams":
        return replace(
            self,
            words=tuple(word_K[part] for word_K in self.words),
            count_K=self.count_K[part],
            raw_K=None if self.raw_K is None else self.raw_K[part],
        )


def estimate_ngrams(
    counts: NgramCounts,
    *,
    min_count: int | Sequence[int] = 1,
    tokenizer_fingerprint: str,
    rows: str = "student",
    threads: int = 1,
) -> NgramTable:
    """Make an n-gram table, p(next token | up to order - 1 tokens before), from the `counts` of `count_ngrams`.

    The estimate is interpolated modified Kneser-Ney at every order, with KenLM's numbers.
    tokenizer_fingerprint: any text that names the tokenizer; the table and its file keep it. rows: which rows of text
    were counted, for the record. Count training rows only: a table that has seen the validation text leaks it.
    threads: number of threads that sort.
    min_count: n-grams of order 2 and more that occurred fewer times leave the table; one number, or one for each order
    from 2, none below the one before. They leave after the estimate, so discounts and lower orders do not change; their
    mass goes to lambda of their history. If counts that were subtracted had cut through rows, the history of an n-gram
    may itself be no n-gram of the text; then the whole row of this history leaves.
    Raises InputError if nothing was counted or a limit does not fit.
    """
    limits = _limits(min_count, counts.order)
    if not len(counts.counts_K):
        raise InputError("no n-grams were counted, so there is no table to estimate: give the corpus more rows.")

    # 1 from the records down: the n-grams of each order, with adjusted counts
    raw_K = counts.counts_K if max(limits) > 1 else None
    grams = Grams(packing=counts.packing, words=counts.words, count_K=counts.counts_K, raw_K=raw_K)
    orders = [grams]
    while grams.packing.order > 2:
        grams = _next_lower(grams, counts.eos_id, threads)
        orders.insert(0, grams)
    continuation_V = np.bincount(grams.packing.last(grams.words), minlength=counts.vocab_size)

    # 2 up again: the trie; the rows of each level are the n-grams of the level before
    levels: list[Level] = []
    numbers, discounts = [counts.vocab_size], [modified_discounts(continuation_V)]
    above: Words | None = None
    for gathered, limit in zip(orders, limits, strict=True):
        grams = gathered.real
        numbers.append(len(grams.count_K))
        discounts.append(modified_discounts(grams.count_K))
        level, above = _level(grams, above, limit)
        levels.append(level)

    return NgramTable(
        levels=tuple(levels),
        base_V=_unigram(continuation_V, discounts[0]).astype(np.float32),
        order=counts.order,
        vocab_size=counts.vocab_size,
        eos_id=counts.eos_id,
        smoothing=_name(limits),
        tokenizer_fingerprint=tokenizer_fingerprint,
        counted_tokens=counts.total,
        rows=rows,
        discounts=tuple(discounts),
        ngrams=tuple(numbers),
    )


def _limits(min_count: int | Sequence[int], order: int) -> list[int]:
    """Return the smallest kept count of each order from 2. Raises InputError if they fall, or do not fit the order."""
    limits = [min_count] * (order - 1) if isinstance(min_count, int) else list(min_count)
    require(
        len(limits) == order - 1 and all(limit >= 1 for limit in limits) and limits == sorted(limits),
        f"teacher.min_count is {min_count} for n-grams of order {order}: give one number, at least 1, or one for each "
        f"of the orders 2 to {order}, none below the one before it.",
    )
    return limits


def _name(limits: list[int]) -> str:
    """Name of the method and its limits, as the table stores it."""
    if max(limits) == 1:
        return SMOOTHING
    if len(set(limits)) == 1:
        return f"{SMOOTHING}, n-grams seen {limits[0]} times or more"
    return f"{SMOOTHING}, n-grams of orders 2 to {len(limits) + 1} seen {', '.join(map(str, limits))} times or more"


def _next_lower(grams: Grams, eos_id: int, threads: int) -> Grams:
    """The n-grams of the next lower order; the count of each is the number of different symbols before it.

    A symbol is a token or "nothing". N-grams that begin with eos or with "nothing" come from one record each, and keep
    its count.
    """
    packing = Packing(grams.packing.order - 1, grams.packing.vocab_size)
    words = grams.packing.without_first(grams.words)
    # 1 after the real n-grams stand records that begin with nothing, ascending: two runs of them keep their count
    real = grams.packing.first_at_least(grams.words, packing.vocab_size)
    tail = tuple(word_K[real:] for word_K in words)
    bounds = (real + packing.first_at_least(tail, symbol) for symbol in (eos_id, eos_id + 1, packing.vocab_size))
    eos, past_eos, nothing = bounds
    # 2 for all others, the number of records that became equal is the number of symbols before them
    others = tuple(np.concatenate([word_K[:eos], word_K[past_eos:nothing]]) for word_K in words)
    raw_K = None
    if grams.raw_K is not None:
        others_raw_K = np.concatenate([grams.raw_K[:eos], grams.raw_K[past_eos:nothing]])
        _, raw_K = sums_of_equal(others, others_raw_K, packing, threads)
    found, count_K = count_equal(others, packing, threads)
    # 3 join both in order: no n-gram is in both
    place = packing.first_at_least(found, eos_id)

    def joined(found_K: NDArray[Any], kept_K: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([found_K[:place], kept_K[eos:past_eos], found_K[place:], kept_K[nothing:]])

    return Grams(
        packing=packing,
        words=tuple(joined(found_K, word_K) for found_K, word_K in zip(found, words, strict=True)),
        count_K=joined(count_K, grams.count_K),
        raw_K=None if raw_K is None or grams.raw_K is None else joined(raw_K, grams.raw_K),
    )


def _level(grams: Grams, above: Words | None, limit: int) -> tuple[Level, Words]:
    """Make the level of histories of order - 1 tokens; return it with the n-grams kept in it.

    above: the n-grams kept in the level before; their indices are this level's row numbers. None: rows are tokens.
    """
    # 1 the row of each n-gram: -1 where its history is not in the level before
    vocab_size = grams.packing.vocab_size
    histories = grams.packing.without_last(grams.words)
    if above is None:
        row_K, size = histories[0].astype(np.int64), vocab_size
    else:
        starts = run_starts(histories)
        row_of_run = _places(above, tuple(word_K[starts] for word_K in histories))
        row_K, size = np.repeat(row_of_run, np.diff(starts, append=len(grams.count_K))), len(above[0])
    # 2 which n-grams stay, and the counts that leave each row
    kept_K = row_K >= 0
    pruned_R = None
    if limit > 1:
        assert grams.raw_K is not None
        rare_K = kept_K & (grams.raw_K < limit)
        pruned_R = _narrow(np.bincount(row_K[rare_K], grams.count_K[rare_K], size).astype(np.int64))
        kept_K &= ~rare_K
    if not kept_K.all():
        grams, row_K = grams[kept_K], row_K[kept_K]
    # 3 store the rows end to end
    indptr = np.zeros(size + 1, np.uint32)
    np.cumsum(np.bincount(row_K, minlength=size), out=indptr[1:])
    count_L, codes = _coded(grams.count_K)
    columns = grams.packing.last(grams.words).astype(column_dtype(vocab_size))
    return Level(indptr=indptr, columns=columns, codes=codes, count_L=count_L, pruned_R=pruned_R), grams.words


def _places(words: Words, wanted: Words) -> Ints:
    """Index of each wanted n-gram among ascending, distinct n-grams; -1 if it is not there."""
    at_K = np.searchsorted(words[0], wanted[0]).astype(np.int64)
    if len(words) == 2:
        end_K = np.searchsorted(words[0], wanted[0], side="right").astype(np.int64)
        at_K = lower_bound(words[1], at_K, end_K, wanted[1])
    found_K = at_K < len(words[0])
    near_K = np.where(found_K, at_K, 0)
    for word, wanted_K in zip(words, wanted, strict=True):
        found_K &= (word[near_K] == wanted_K) if len(word) else False
    return np.where(found_K, at_K, -1)


def _coded(count_K: Ints) -> tuple[Ints, NDArray[np.unsignedinteger[Any]]]:
    """Return the distinct counts, ascending, and the index of each count among them (its code)."""
    small_K = np.minimum(count_K, FREQUENT)
    occurs = np.bincount(small_K, minlength=FREQUENT + 1)[:FREQUENT] > 0
    frequent_K = np.flatnonzero(small_K == FREQUENT)
    count_L = np.concatenate([np.flatnonzero(occurs), np.unique(count_K[frequent_K])])
    code_of_small = np.append(np.cumsum(occurs) - 1, 0)
    dtype = np.dtype(np.uint16 if len(count_L) <= 1 << 16 else np.uint32)
    codes: NDArray[np.unsignedinteger[Any]] = code_of_small.astype(dtype)[small_K]
    codes[frequent_K] = np.searchsorted(count_L, count_K[frequent_K])
    return count_L, codes


def _narrow(count_R: Ints) -> NDArray[np.unsignedinteger[Any]]:
    """Convert counts to the narrowest of uint16, uint32 and uint64 that holds them."""
    largest = int(count_R.max(initial=0))
    return count_R.astype(next(t for t in (np.uint16, np.uint32, np.uint64) if largest <= np.iinfo(t).max))


def _unigram(continuation_V: Ints, discounts: tuple[float, float, float]) -> NDArray[np.float64]:
    """Distribution of the lowest order: continuation counts, discounted and interpolated with 1/V."""
    cut_V = np.array([0.0, *discounts])[np.minimum(continuation_V, 3)]
    total = continuation_V.sum()
    lowest_V: NDArray[np.float64] = (continuation_V - cut_V) / total + cut_V.sum() / total / len(cut_V)
    return lowest_V
