"""From bigram counts to a teacher table: seven ways to give unseen bigrams their share, and two controls.

With n(c, k) the count of k after c, n(c) the bigrams that begin with c, t(c) the distinct ones, V the vocabulary, and
u the unigram distribution of next tokens (how often each token *follows*), p(k | c) is

    mle                 n(c, k) / n(c); u after a context never seen
    add_k               (n(c, k) + k) / (n(c) + k V)                          Lidstone; strength k, 0.01
    jelinek_mercer      lambda n(c, k) / n(c) + (1 - lambda) u(k)             strength lambda, the bigram's weight, 0.5
    witten_bell         (n(c, k) + t(c) u(k)) / (n(c) + t(c))
    absolute_discount   (max(n(c, k) - D, 0) + D t(c) u(k)) / n(c)            Ney, Essen and Kneser 1994
    kneser_ney          the same with the continuation distribution for u     Kneser and Ney 1995, interpolated
    modified_kneser_ney D1, D2, D3+ by count; the continuation counts are     Chen and Goodman 1998; Heafield et al.
                        discounted too and interpolated with 1/V              2013 (KenLM)

The continuation count of k is the number of distinct contexts before it. After a context never seen each method leaves
its shared vector. What jelinek_mercer to kneser_ney cannot say is what a token that never follows anything should get:
it is given t/V of an occurrence here (t: the distinct next tokens), so that no event is impossible; where every token
follows something, as in published comparisons, nothing changes. mle alone keeps zeros.

Discounts come from counts of counts (Chen and Goodman, eq. 26). Where a corpus is too small for that (an n_i that they
divide by is 0, or a discount leaves its range), KenLM's fallback 0.5, 1, 1.5 is used, or 0.75 for a single discount.

Shapes: V vocabulary, K distinct bigrams.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainable.config import Smoothing, check_min_count, check_strength
from trainable.errors import InputError
from trainable.teacher.counts import BigramCounts
from trainable.teacher.table import BigramTable, column_dtype

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DEFAULT_STRENGTH: Final[dict[str, float]] = {
    "add_k": 0.01,
    "jelinek_mercer": 0.5,
}  # the best of the published reference
FALLBACK_DISCOUNT: Final = 0.75
FALLBACK_DISCOUNTS: Final = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class _Tally:
    """Counts, taken apart once for all methods."""

    prev_K: Ints
    next_K: Ints
    count_K: Floats
    total_V: Floats  # n(c)
    types_V: Floats  # t(c)
    unigram_V: Floats  # occurrences as next token
    continuation_V: Floats  # distinct contexts before it


# Each method: the sparse values, the weight of the shared vector per context, the shared vector.
_Parts = tuple[Floats, Floats, Floats]


def estimate(
    counts: BigramCounts,
    smoothing: Smoothing,
    strength: float | None = None,
    *,
    min_count: int = 1,
    tokenizer_fingerprint: str,
    rows: str,
) -> BigramTable:
    """The table of `counts` under a smoothing method; computed in float64, stored in float32.

    Bigrams counted fewer than `min_count` times leave the table when all is computed, so that discounts and the shared
    vector stay what they were; their mass goes to the weight of the shared vector, and they are left with its share.
    Rounding to float32 is relative (6e-8), so stored rows sum to 1 within 2e-7.
    Raises InputError if nothing was counted, or if `strength` or `min_count` does not fit the method.
    """
    _require_counts(counts)
    check_min_count(smoothing, min_count)
    strength = _strength(smoothing, strength)
    tally = _tally(counts)
    value_K, backoff_V, base_V = _METHODS[smoothing](tally, strength)
    prev_K, next_K, value_K, backoff_V = _pruned(tally, value_K, backoff_V, min_count)
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


def _pruned(tally: "_Tally", value_K: Floats, backoff_V: Floats, min_count: int) -> tuple[Ints, Ints, Floats, Floats]:
    """The bigrams that stay, and the weights of the shared vector with the mass of those that do not."""
    if min_count == 1:
        return tally.prev_K, tally.next_K, value_K, backoff_V
    kept_K = tally.count_K >= min_count
    lost_V = _sums(tally.prev_K[~kept_K], value_K[~kept_K], len(backoff_V))
    return tally.prev_K[kept_K], tally.next_K[kept_K], value_K[kept_K], backoff_V + lost_V


def uniform(vocab_size: int, *, tokenizer_fingerprint: str) -> BigramTable:
    """A control: every token is equally likely after every context (label smoothing, as a teacher)."""
    base_V = np.full(vocab_size, 1 / vocab_size)
    return _without_context(base_V, "uniform", tokenizer_fingerprint, counted_tokens=0, rows="none")


def unigram(counts: BigramCounts, *, tokenizer_fingerprint: str, rows: str) -> BigramTable:
    """A control: every context is followed by the unigram distribution of next tokens (maximum likelihood)."""
    _require_counts(counts)
    base_V = _normalised(_tally(counts).unigram_V)
    return _without_context(base_V, "unigram", tokenizer_fingerprint, counted_tokens=counts.total, rows=rows)


def counts_of_counts(count_K: NDArray[Any]) -> tuple[int, int, int, int]:
    """n1 to n4: how many bigrams (or tokens) occurred exactly once, twice, three and four times."""
    n = np.bincount(np.minimum(count_K, 5).astype(np.int64), minlength=6)
    return int(n[1]), int(n[2]), int(n[3]), int(n[4])


def single_discount(count_K: NDArray[Any]) -> float:
    """D = n1 / (n1 + 2 n2), Ney, Essen and Kneser 1994; 0.75 where n1 or n2 is 0."""
    n1, n2, _, _ = counts_of_counts(count_K)
    return n1 / (n1 + 2 * n2) if n1 and n2 else FALLBACK_DISCOUNT


def modified_discounts(count_K: NDArray[Any]) -> tuple[float, float, float]:
    """D1, D2, D3+ of Chen and Goodman, eq. 26: D_i = i - (i + 1) Y n_(i+1) / n_i with Y = n1 / (n1 + 2 n2).

    As in KenLM, all three fall back together, where n1, n2 or n3 is 0 or a discount is outside (0, i].
    """
    n = counts_of_counts(count_K)
    if not all(n[:3]):
        return FALLBACK_DISCOUNTS
    y = n[0] / (n[0] + 2 * n[1])
    d1, d2, d3 = (i - (i + 1) * y * n[i] / n[i - 1] for i in (1, 2, 3))
    return (d1, d2, d3) if all(0 < d <= i for i, d in enumerate((d1, d2, d3), 1)) else FALLBACK_DISCOUNTS


def _mle(tally: _Tally, strength: float | None) -> _Parts:
    value_K = tally.count_K / tally.total_V[tally.prev_K]
    return value_K, (tally.total_V == 0).astype(np.float64), _normalised(tally.unigram_V)


def _add_k(tally: _Tally, strength: float | None) -> _Parts:
    assert strength is not None
    added = strength * len(tally.total_V)
    value_K = tally.count_K / (tally.total_V + added)[tally.prev_K]
    return value_K, added / (tally.total_V + added), np.full_like(tally.total_V, 1 / len(tally.total_V))


def _jelinek_mercer(tally: _Tally, strength: float | None) -> _Parts:
    assert strength is not None
    value_K = strength * tally.count_K / tally.total_V[tally.prev_K]
    return value_K, np.where(tally.total_V > 0, 1 - strength, 1.0), _no_zeros(tally.unigram_V)


def _witten_bell(tally: _Tally, strength: float | None) -> _Parts:
    whole_V = tally.total_V + tally.types_V
    return tally.count_K / whole_V[tally.prev_K], _share(tally.types_V, whole_V), _no_zeros(tally.unigram_V)


def _absolute_discount(tally: _Tally, strength: float | None) -> _Parts:
    cut_K = np.full_like(tally.count_K, single_discount(tally.count_K))
    return _discounted(tally, cut_K, _no_zeros(tally.unigram_V))


def _kneser_ney(tally: _Tally, strength: float | None) -> _Parts:
    cut_K = np.full_like(tally.count_K, single_discount(tally.count_K))
    return _discounted(tally, cut_K, _no_zeros(tally.continuation_V))


def _modified_kneser_ney(tally: _Tally, strength: float | None) -> _Parts:
    continuation_V = tally.continuation_V
    cut_V = _by_count(continuation_V)
    total = continuation_V.sum()
    base_V = (continuation_V - cut_V) / total + cut_V.sum() / total / len(cut_V)
    return _discounted(tally, _by_count(tally.count_K), base_V)


_METHODS: Final[dict[str, Callable[[_Tally, float | None], _Parts]]] = {
    "mle": _mle,
    "add_k": _add_k,
    "jelinek_mercer": _jelinek_mercer,
    "witten_bell": _witten_bell,
    "absolute_discount": _absolute_discount,
    "kneser_ney": _kneser_ney,
    "modified_kneser_ney": _modified_kneser_ney,
}


def _discounted(tally: _Tally, cut_K: Floats, base_V: Floats) -> _Parts:
    """Take cut_K off the counts and give what a row loses to the shared vector."""
    value_K = (tally.count_K - cut_K) / tally.total_V[tally.prev_K]
    cut_V = _sums(tally.prev_K, cut_K, len(base_V))
    return value_K, _share(cut_V, tally.total_V), base_V


def _by_count(count_K: Floats) -> Floats:
    """The discount of each count: 0, D1, D2 or D3+."""
    return np.array([0.0, *modified_discounts(count_K)])[np.minimum(count_K, 3).astype(np.int64)]


def _share(part_V: Floats, whole_V: Floats) -> Floats:
    """part / whole; 1 for a context never seen, whose row is the shared vector alone."""
    return np.divide(part_V, whole_V, out=np.ones_like(part_V), where=whole_V > 0)


def _no_zeros(count_V: Floats) -> Floats:
    """A distribution in which a token without occurrences counts as t/V of one, t the tokens that occur."""
    occurs = count_V > 0
    return _normalised(np.where(occurs, count_V, occurs.mean()))


def _normalised(count_V: Floats) -> Floats:
    return count_V / float(count_V.sum())


def _sums(id_K: Ints, weight_K: Floats, vocab_size: int) -> Floats:
    """The weights of each id, added up."""
    return np.bincount(id_K, weight_K, vocab_size).astype(np.float64, copy=False)


def _tally(counts: BigramCounts) -> _Tally:
    prev_K, next_K, count_K = counts.prev_K, counts.next_K, counts.counts_K.astype(np.float64)
    size = counts.vocab_size
    return _Tally(
        prev_K=prev_K,
        next_K=next_K,
        count_K=count_K,
        total_V=_sums(prev_K, count_K, size),
        types_V=np.bincount(prev_K, minlength=size).astype(np.float64),
        unigram_V=_sums(next_K, count_K, size),
        continuation_V=np.bincount(next_K, minlength=size).astype(np.float64),
    )


def _without_context(
    base_V: Floats, name: str, tokenizer_fingerprint: str, *, counted_tokens: int, rows: str
) -> BigramTable:
    size = len(base_V)
    return BigramTable(
        indptr=np.zeros(size + 1, np.int64),
        indices=np.zeros(0, column_dtype(size)),
        values=np.zeros(0, np.float32),
        backoff_V=np.ones(size, np.float32),
        base_V=base_V.astype(np.float32),
        vocab_size=size,
        smoothing=name,
        strength=None,
        tokenizer_fingerprint=tokenizer_fingerprint,
        counted_tokens=counted_tokens,
        rows=rows,
    )


def _strength(smoothing: Smoothing, strength: float | None) -> float | None:
    """The strength that the method will use. Raises InputError if it has none or the value is out of range."""
    if smoothing not in _METHODS:
        raise InputError(f"teacher.smoothing is {smoothing!r}: choose one of {', '.join(_METHODS)}.")
    if strength is None:
        return DEFAULT_STRENGTH.get(smoothing)
    check_strength(smoothing, strength)
    return strength


def _require_counts(counts: BigramCounts) -> None:
    if not len(counts.keys_K):
        raise InputError("no bigrams were counted, so there is no table to estimate: give the corpus more rows.")
