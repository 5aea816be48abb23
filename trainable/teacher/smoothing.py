"""Estimate a bigram table from counts: seven smoothing methods, which differ in what they give unseen bigrams.

To add a method, write it and add an entry to SMOOTHINGS: settings and command lines take their choices from its keys.

n(c, k) is the count of k after c, n(c) the number of bigrams that begin with c, t(c) the number of distinct ones, V the
vocabulary size, and u the unigram distribution of next tokens (how often each token *follows* another). p(k | c) is

    mle                 n(c, k) / n(c); u after a context that was never seen
    add_k               (n(c, k) + k) / (n(c) + k V)                          Lidstone; strength k, 0.01
    jelinek_mercer      lambda n(c, k) / n(c) + (1 - lambda) u(k)             strength lambda, the bigram's weight, 0.5
    witten_bell         (n(c, k) + t(c) u(k)) / (n(c) + t(c))
    absolute_discount   (max(n(c, k) - D, 0) + D t(c) u(k)) / n(c)            Ney, Essen and Kneser 1994
    kneser_ney          absolute_discount with the continuation               Kneser and Ney 1995, interpolated
                        distribution in place of u
    modified_kneser_ney kneser_ney with D1, D2, D3+ by count; continuation    Chen and Goodman 1998; Heafield et al.
                        counts are discounted and interpolated with 1/V       2013 (KenLM)

The continuation count of k is the number of distinct contexts before k. After a context that was never seen, each
method gives its shared vector. The methods from jelinek_mercer to kneser_ney do not define the share of a token that
never follows another. Here it counts as t/V of an occurrence (t: number of distinct next tokens), so that no event is
impossible. Where every token follows some token, as in published comparisons, this changes nothing. Only mle keeps
zeros.

Discounts come from counts of counts (Chen and Goodman, eq. 26). In a corpus too small for that (a divisor n_i is 0, or
a discount is outside its range) KenLM's fallback 0.5, 1, 1.5 is used, or 0.75 for a single discount.

    V vocabulary   K distinct bigrams
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainable.errors import InputError, require, require_choice
from trainable.teacher.counts import BigramCounts
from trainable.teacher.table import BigramTable, column_dtype

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FALLBACK_DISCOUNT: Final = 0.75
FALLBACK_DISCOUNTS: Final = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class Tally:
    """Counts by context, by next token and by pair: the input of a smoothing method."""

    prev_K: Ints
    next_K: Ints
    count_K: Floats
    total_V: Floats  # n(c)
    types_V: Floats  # t(c)
    unigram_V: Floats  # occurrences of each token as next token
    continuation_V: Floats  # distinct contexts before each token


# Result of a method: sparse values [K], weight of the shared vector in each context [V], shared vector [V].
Parts = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, kw_only=True)
class Strength:
    """Default and range of a method's parameter."""

    default: float
    largest: float
    wanted: str  # description of a valid value, for messages


@dataclass(frozen=True, kw_only=True)
class Method:
    """A smoothing method, its parameter, and whether it can drop rare bigrams."""

    parts: Callable[..., Parts]  # takes a tally, and the strength if the method has one
    strength: Strength | None = None
    backs_off: bool = True  # whether the weight of the shared vector can take the mass of rare bigrams that leave


def estimate_table(
    counts: BigramCounts,
    smoothing: str,
    strength: float | None = None,
    *,
    min_count: int = 1,
    tokenizer_fingerprint: str,
    rows: str = "student",
) -> BigramTable:
    """Make a bigram table, p(next token | token before), from the `counts` of `count_bigrams`.

    smoothing: a key of SMOOTHINGS, such as "modified_kneser_ney"; it decides the probability of unseen bigrams ("mle"
    gives them none). strength: k of add_k, or lambda of jelinek_mercer; None: the method's default.
    tokenizer_fingerprint: any text that names the tokenizer; the table and its file keep it. rows: which rows of text
    were counted, for the record. Count training rows only: a table that has seen the validation text leaks it.
    min_count: bigrams counted fewer times leave the table after the estimate, so discounts and the shared vector do not
    change. Their mass goes to the weight of the shared vector, from which they still get a share.
    The table is computed in float64 and stored in float32. Rounding to float32 is relative (6e-8), so stored rows sum
    to 1 within 2e-7.
    Raises InputError if nothing was counted, or if `strength` or `min_count` does not fit the method.
    """
    require_counts(counts)
    check_smoothing(smoothing, strength, min_count)
    method, tally = SMOOTHINGS[smoothing], tally_of(counts)

    # 1 the method: sparse values, weights of the shared vector, the shared vector
    if method.strength is None:
        value_K, backoff_V, base_V = method.parts(tally)
    else:
        strength = method.strength.default if strength is None else strength
        value_K, backoff_V, base_V = method.parts(tally, strength)

    # 2 remove rare bigrams, and add their mass to the weight of the shared vector
    prev_K, next_K = tally.prev_K, tally.next_K
    if min_count > 1:
        kept_K = tally.count_K >= min_count
        backoff_V = backoff_V + _sums(prev_K[~kept_K], value_K[~kept_K], counts.vocab_size)
        prev_K, next_K, value_K = prev_K[kept_K], next_K[kept_K], value_K[kept_K]

    # 3 the table: bigrams are sorted by context, so a row begins at the first bigram of its context
    return BigramTable(
        indptr=np.searchsorted(prev_K, np.arange(counts.vocab_size + 1)),
        indices=next_K.astype(column_dtype(counts.vocab_size)),
        values=value_K.astype(np.float32),
        backoff_V=backoff_V.astype(np.float32),
        base_V=base_V.astype(np.float32),
        vocab_size=counts.vocab_size,
        smoothing=smoothing if min_count == 1 else f"{smoothing}, bigrams seen {min_count} times or more",
        strength=strength,
        tokenizer_fingerprint=tokenizer_fingerprint,
        counted_tokens=counts.total,
        rows=rows,
    )


def check_smoothing(smoothing: str, strength: float | None, min_count: int) -> None:
    """Raise InputError for an unknown method, or a strength or `min_count` that does not fit it."""
    require_choice("teacher.smoothing", smoothing, SMOOTHINGS)
    method = SMOOTHINGS[smoothing]
    if strength is not None:
        if method.strength is None:
            raise InputError(
                f"teacher.smoothing_strength is {strength}, but {smoothing} has no strength: leave it out."
            )
        require(
            0 < strength <= method.strength.largest and math.isfinite(strength),
            f"teacher.smoothing_strength is {strength} for {smoothing}: give {method.strength.wanted}.",
        )
    require(min_count >= 1, f"teacher.min_count is {min_count}: give at least 1, which keeps every bigram.")
    require(
        min_count == 1 or method.backs_off,
        f"teacher.min_count is {min_count} but {smoothing} has no back-off weight for the mass of rare bigrams: "
        "choose another teacher.smoothing, such as modified_kneser_ney, or leave out teacher.min_count.",
    )


def require_counts(counts: BigramCounts) -> None:
    """Raise InputError if nothing was counted."""
    if not len(counts.keys_K):
        raise InputError("no bigrams were counted, so there is no table to estimate: give the corpus more rows.")


def tally_of(counts: BigramCounts) -> Tally:
    """Make the tally of counts that all methods use."""
    prev_K, next_K, count_K = counts.prev_K, counts.next_K, counts.counts_K.astype(np.float64)
    size = counts.vocab_size
    return Tally(
        prev_K=prev_K,
        next_K=next_K,
        count_K=count_K,
        total_V=_sums(prev_K, count_K, size),
        types_V=np.bincount(prev_K, minlength=size).astype(np.float64),
        unigram_V=_sums(next_K, count_K, size),
        continuation_V=np.bincount(next_K, minlength=size).astype(np.float64),
    )


# --- the methods -----------------------------------------------------------------------------------------------------


def _mle(tally: Tally) -> Parts:
    value_K = tally.count_K / tally.total_V[tally.prev_K]
    return value_K, (tally.total_V == 0).astype(np.float64), _normalised(tally.unigram_V)


def _add_k(tally: Tally, strength: float) -> Parts:
    added = strength * len(tally.total_V)
    value_K = tally.count_K / (tally.total_V + added)[tally.prev_K]
    return value_K, added / (tally.total_V + added), np.full_like(tally.total_V, 1 / len(tally.total_V))


def _jelinek_mercer(tally: Tally, strength: float) -> Parts:
    value_K = strength * tally.count_K / tally.total_V[tally.prev_K]
    return value_K, np.where(tally.total_V > 0, 1 - strength, 1.0), _no_zeros(tally.unigram_V)


def _witten_bell(tally: Tally) -> Parts:
    whole_V = tally.total_V + tally.types_V
    return tally.count_K / whole_V[tally.prev_K], _share(tally.types_V, whole_V), _no_zeros(tally.unigram_V)


def _absolute_discount(tally: Tally) -> Parts:
    cut_K = np.full_like(tally.count_K, single_discount(tally.count_K))
    return _discounted(tally, cut_K, _no_zeros(tally.unigram_V))


def _kneser_ney(tally: Tally) -> Parts:
    cut_K = np.full_like(tally.count_K, single_discount(tally.count_K))
    return _discounted(tally, cut_K, _no_zeros(tally.continuation_V))


def _modified_kneser_ney(tally: Tally) -> Parts:
    continuation_V = tally.continuation_V
    cut_V = _by_count(continuation_V)
    total = continuation_V.sum()
    base_V = (continuation_V - cut_V) / total + cut_V.sum() / total / len(cut_V)
    return _discounted(tally, _by_count(tally.count_K), base_V)


SMOOTHINGS: Final[dict[str, Method]] = {
    "mle": Method(parts=_mle, backs_off=False),
    # defaults: the best values of the published reference
    "add_k": Method(parts=_add_k, strength=Strength(default=0.01, largest=math.inf, wanted="a positive number")),
    "jelinek_mercer": Method(
        parts=_jelinek_mercer, strength=Strength(default=0.5, largest=1, wanted="a weight in (0, 1]")
    ),
    "witten_bell": Method(parts=_witten_bell),
    "absolute_discount": Method(parts=_absolute_discount),
    "kneser_ney": Method(parts=_kneser_ney),
    "modified_kneser_ney": Method(parts=_modified_kneser_ney),
}


# --- what the methods share ------------------------------------------------------------------------------------------


def counts_of_counts(count_K: NDArray[Any]) -> tuple[int, int, int, int]:
    """Return n1 to n4: the number of bigrams (or tokens) that occurred exactly once, twice, three and four times."""
    n = np.bincount(np.minimum(count_K, 5).astype(np.int64), minlength=6)
    return int(n[1]), int(n[2]), int(n[3]), int(n[4])


def single_discount(count_K: NDArray[Any]) -> float:
    """Return D = n1 / (n1 + 2 n2), of Ney, Essen and Kneser 1994; 0.75 if n1 or n2 is 0."""
    n1, n2, _, _ = counts_of_counts(count_K)
    return n1 / (n1 + 2 * n2) if n1 and n2 else FALLBACK_DISCOUNT


def modified_discounts(count_K: NDArray[Any]) -> tuple[float, float, float]:
    """Return D1, D2, D3+ of Chen and Goodman, eq. 26: D_i = i - (i + 1) Y n_(i+1) / n_i, Y = n1 / (n1 + 2 n2).

    As in KenLM, all three take their fallback if n1, n2 or n3 is 0 or a discount D_i is outside (0, i].
    """
    n = counts_of_counts(count_K)
    if not all(n[:3]):
        return FALLBACK_DISCOUNTS
    y = n[0] / (n[0] + 2 * n[1])
    d1, d2, d3 = (i - (i + 1) * y * n[i] / n[i - 1] for i in (1, 2, 3))
    return (d1, d2, d3) if all(0 < d <= i for i, d in enumerate((d1, d2, d3), 1)) else FALLBACK_DISCOUNTS


def _discounted(tally: Tally, cut_K: Floats, base_V: Floats) -> Parts:
    """Subtract cut_K from the counts, and give the mass that a row loses to the shared vector."""
    value_K = (tally.count_K - cut_K) / tally.total_V[tally.prev_K]
    cut_V = _sums(tally.prev_K, cut_K, len(base_V))
    return value_K, _share(cut_V, tally.total_V), base_V


def _by_count(count_K: Floats) -> Floats:
    """Discount of each count: 0, D1, D2 or D3+."""
    return np.array([0.0, *modified_discounts(count_K)])[np.minimum(count_K, 3).astype(np.int64)]


def _share(part_V: Floats, whole_V: Floats) -> Floats:
    """Return part / whole; 1 for a context that was never seen, because its row is the shared vector alone."""
    return np.divide(part_V, whole_V, out=np.ones_like(part_V), where=whole_V > 0)


def _no_zeros(count_V: Floats) -> Floats:
    """Distribution in which a token that never occurs counts as t/V occurrences; t: number of tokens that occur."""
    occurs = count_V > 0
    return _normalised(np.where(occurs, count_V, occurs.mean()))


def _normalised(count_V: Floats) -> Floats:
    return count_V / float(count_V.sum())


def _sums(id_K: Ints, weight_K: Floats, vocab_size: int) -> Floats:
    """Sum of the weights of each id."""
    return np.bincount(id_K, weight_K, vocab_size).astype(np.float64, copy=False)
