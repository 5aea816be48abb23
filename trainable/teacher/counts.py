"""Exact and additive bigram counts: how often each token follows each other token.

Additive means that the counts of a whole minus the counts of a fold are the counts of the rest, so one pass over the
tokens serves every fold. A pair is one number, prev * V + next. The numbers are sorted; the length of a run of equal
numbers is the count of that pair. A core counts 100 to 200 M tokens a second, in chunks, so that memory does not grow
with the stream.

    N tokens   n tokens of a chunk   s tokens of a slice   K distinct bigrams   M keys of two counts together
    V vocabulary   B blocks   T tokens of a block
"""
# ruff: noqa: N802  (shapes in names)

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainable.errors import InputError
from trainable.text.workers import tree_sum

Ids = NDArray[np.integer[Any]]
Result = TypeVar("Result")

CHUNK_TOKENS = 1 << 26  # sorted at once by all threads: 256 MiB of uint32 keys; smaller chunks need more merging
CACHED_TOKENS = 1 << 16  # of a slice that is read several times: it stays in the CPU's cache, which halves the time
LARGEST_UINT32_VOCABULARY = 65_535  # largest V for which V * V fits in uint32


@dataclass(frozen=True, eq=False)
class BigramCounts:
    """Distinct bigrams and how often each occurred.

    keys_K: prev * vocab_size + next, ascending and distinct; uint32 up to V = 65,535, else uint64.
    counts_K: int64, all positive.
    """

    keys_K: NDArray[np.unsignedinteger[Any]]
    counts_K: NDArray[np.int64]
    vocab_size: int

    @classmethod
    def empty(cls, vocab_size: int) -> "BigramCounts":
        """Return counts without bigrams: the zero of addition."""
        return cls(np.zeros(0, key_dtype(vocab_size)), np.zeros(0, np.int64), vocab_size)

    @property
    def total(self) -> int:
        """Number of bigrams counted, repeats included."""
        return int(self.counts_K.sum())

    @property
    def prev_K(self) -> NDArray[np.int64]:
        """Context (first token) of each bigram."""
        return (self.keys_K // self.keys_K.dtype.type(self.vocab_size)).astype(np.int64)

    @property
    def next_K(self) -> NDArray[np.int64]:
        """Next (second) token of each bigram."""
        return (self.keys_K % self.keys_K.dtype.type(self.vocab_size)).astype(np.int64)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, BigramCounts)
            and self.vocab_size == other.vocab_size
            and np.array_equal(self.keys_K, other.keys_K)
            and np.array_equal(self.counts_K, other.counts_K)
        )

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: "BigramCounts") -> "BigramCounts":
        """Return the sum of both counts. Raises InputError if the vocabularies differ."""
        self._check_same_vocabulary(other)
        if not len(self.keys_K) or not len(other.keys_K):
            return self if len(self.keys_K) else other
        # 1 merge: a stable sort finds the two ascending runs, in linear time
        keys_M = np.concatenate([self.keys_K, other.keys_K])
        sorted_M = np.argsort(keys_M, kind="stable")
        keys_M = keys_M[sorted_M]
        counts_M = np.concatenate([self.counts_K, other.counts_K])[sorted_M]
        # 2 add the counts of bigrams that both have
        starts_K = _run_starts(keys_M, slice(0, len(keys_M)))
        return BigramCounts(keys_M[starts_K], np.add.reduceat(counts_M, starts_K), self.vocab_size)

    def __sub__(self, other: "BigramCounts") -> "BigramCounts":
        """Return these counts minus `other`, without bigrams whose count becomes 0.

        Raises InputError if the vocabularies differ or if `other` is not contained in these counts.
        """
        self._check_same_vocabulary(other)
        at_K = np.searchsorted(self.keys_K, other.keys_K)
        beyond = len(at_K) > 0 and at_K[-1] == len(self.keys_K)
        contained = not beyond and np.array_equal(self.keys_K[at_K], other.keys_K)
        counts_K = self.counts_K.copy()
        if contained:
            counts_K[at_K] -= other.counts_K  # keys are distinct: no index repeats
        if not contained or (counts_K < 0).any():
            raise InputError(
                "cannot subtract bigram counts that are not part of the whole: "
                "count the fold from rows that the total was counted from, with the same tokenizer."
            )
        left = counts_K > 0
        return BigramCounts(self.keys_K[left], counts_K[left], self.vocab_size)

    def _check_same_vocabulary(self, other: "BigramCounts") -> None:
        if self.vocab_size != other.vocab_size:
            raise InputError(
                f"bigram counts over {self.vocab_size} and {other.vocab_size} tokens cannot be combined: "
                "count both with the same tokenizer."
            )


def count_bigrams(
    stream_N: Ids, vocab_size: int, *, first_context: int, chunk_tokens: int = CHUNK_TOKENS, threads: int = 1
) -> BigramCounts:
    """Count how often each token follows each other token, for `estimate_table`: N tokens give N bigrams.

    stream_N: token ids below `vocab_size`, of any integer dtype: an array, possibly memory-mapped, or a tensor.
    first_context: the token before the first token of the stream, usually eos. Counts add and subtract: if every row
    ends in eos and `first_context` is eos, the counts of rows joined end to end are the sum of the counts of each row.
    chunk_tokens: number of tokens counted at once; threads: number of threads that count. Working memory is 4 bytes for
    each of `chunk_tokens` and 20 for each distinct bigram (some 0.4 GiB), for any length and number of threads.
    Raises InputError for a token id outside the vocabulary.
    """
    stream_N = np.asarray(stream_N)  # a caller's own loop may have tensors
    return add_all(_stream_chunks(stream_N, vocab_size, first_context, chunk_tokens, threads), vocab_size)


def count_blocks(ids_BxT: Ids, lengths_B: Ids, vocab_size: int, *, chunk_tokens: int = CHUNK_TOKENS) -> BigramCounts:
    """Count the bigrams inside the first lengths_B[b] tokens of each block; none across blocks, none with padding.

    Raises InputError for a counted token id outside the vocabulary, or a length beyond the block.
    """
    blocks, context = ids_BxT.shape
    if blocks and not (lengths_B.min() >= 0 and lengths_B.max() <= context):
        raise InputError(f"a block of {context} tokens has a length outside 0 to {context}: prepare the blocks again.")
    step = max(1, chunk_tokens // max(1, context))
    spans = pairwise([*range(0, blocks, step), blocks])
    return add_all((_count_padded(ids_BxT[i:j], lengths_B[i:j], vocab_size) for i, j in spans), vocab_size)


def add_all(parts: Iterable[BigramCounts], vocab_size: int) -> BigramCounts:
    """Return the sum of any number of counts, merged as a tree."""
    parts = iter(parts)
    first = next(parts, None)
    if first is None:
        return BigramCounts.empty(vocab_size)
    total: BigramCounts = tree_sum(chain([first], parts))
    return total


def key_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Dtype of keys: uint32 if it holds every prev * V + next, else uint64."""
    return np.dtype(np.uint32 if vocab_size <= LARGEST_UINT32_VOCABULARY else np.uint64)


def _stream_chunks(
    stream_N: Ids, vocab_size: int, first_context: int, chunk_tokens: int, threads: int
) -> Iterator[BigramCounts]:
    """Yield the counts of each chunk of the stream."""
    check_ids(np.array([first_context]), vocab_size)
    # one buffer for all chunks: new pages cost time
    buffer_n = np.empty(min(chunk_tokens, len(stream_N)), key_dtype(vocab_size))
    for start in range(0, len(stream_N), chunk_tokens):
        next_n = stream_N[start : start + chunk_tokens]
        keys_n = buffer_n[: len(next_n)]
        keys_n[0] = stream_N[start - 1] if start else first_context
        in_threads(partial(_fill, keys_n, next_n, vocab_size), len(next_n), threads)
        yield count_keys(keys_n, vocab_size, threads)


def _fill(keys_n: NDArray[np.unsignedinteger[Any]], next_n: Ids, vocab_size: int, part: slice) -> None:
    """Fill in the keys of a part of a chunk; keys_n[0] holds the token before the chunk."""
    check_ids(next_n[part], vocab_size)
    for here in slices(part):
        prev_s = keys_n[here]
        prev_s[here.start == 0 :] = next_n[max(here.start - 1, 0) : here.stop - 1]
        _make_keys(prev_s, next_n[here], vocab_size)


def _count_padded(ids_BxT: Ids, lengths_B: Ids, vocab_size: int) -> BigramCounts:
    """Count the pairs whose second token is not padding."""
    inside_BxT = np.arange(1, ids_BxT.shape[1]) < lengths_B[:, None]
    prev_n, next_n = ids_BxT[:, :-1][inside_BxT], ids_BxT[:, 1:][inside_BxT]
    check_ids(prev_n, vocab_size)
    check_ids(next_n, vocab_size)
    keys_n = prev_n.astype(key_dtype(vocab_size))
    _make_keys(keys_n, next_n, vocab_size)
    return count_keys(keys_n, vocab_size, threads=1)


def _make_keys(prev_N: NDArray[np.unsignedinteger[Any]], next_N: Ids, vocab_size: int) -> None:
    """Turn prev into prev * V + next, in place; prev has the dtype of a key."""
    prev_N *= prev_N.dtype.type(vocab_size)
    np.add(prev_N, next_N, out=prev_N, casting="unsafe")  # ids were checked, so the cast loses nothing


def count_keys(keys_N: NDArray[np.unsignedinteger[Any]], vocab_size: int, threads: int) -> BigramCounts:
    """Sort the keys in place; the lengths of the runs of equal keys are the counts."""
    # 1 partition the keys by size, one part for each thread: the sorted parts need no merging
    inner = [part.start for part in _parts(len(keys_N), threads)][1:]
    if inner:
        keys_N.partition(inner)

    def sort_and_measure(part: slice) -> NDArray[np.int64]:
        keys_N[part].sort()
        return _run_starts(keys_N, part)

    # 2 sort each part, and find where its runs begin
    starts_K = np.concatenate([np.zeros(0, np.int64), *in_threads(sort_and_measure, len(keys_N), threads)])
    # 3 a run that crosses the border of two parts begins only once, in the first part
    cut = [bound for bound in inner if keys_N[bound - 1] == keys_N[bound]]
    starts_K = np.delete(starts_K, np.searchsorted(starts_K, cut))
    # 4 the length of a run is the count of its key
    return BigramCounts(keys_N[starts_K], np.diff(starts_K, append=len(keys_N)), vocab_size)


def _run_starts(keys_N: NDArray[np.unsignedinteger[Any]], part: slice) -> NDArray[np.int64]:
    """Indices at which the runs of equal keys begin in a part."""
    changes = [np.array([part.start], np.int64)]
    for here in slices(slice(part.start + 1, part.stop)):
        changes.append(np.flatnonzero(keys_N[here] != keys_N[here.start - 1 : here.stop - 1]) + here.start)
    return np.concatenate(changes)


def in_threads(work: Callable[[slice], Result], length: int, threads: int) -> list[Result]:
    """Return the results of `work` on each part, one thread a part; numpy releases the GIL in sorts and arithmetic."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, _parts(length, threads)))


def _parts(length: int, threads: int) -> list[slice]:
    bounds = [length * i // threads for i in range(threads + 1)]
    return [slice(first, end) for first, end in pairwise(bounds) if end > first]


def slices(part: slice) -> Iterator[slice]:
    starts = range(part.start, part.stop, CACHED_TOKENS)
    return (slice(first, min(first + CACHED_TOKENS, part.stop)) for first in starts)


def check_ids(ids_N: Ids, vocab_size: int) -> None:
    if not len(ids_N):
        return
    lowest = 0 if ids_N.dtype.kind == "u" else ids_N.min()  # unsigned ids need no second pass
    for worst in (int(ids_N.max()), int(lowest)):
        if not 0 <= worst < vocab_size:
            raise InputError(
                f"token id {worst} is outside the vocabulary of {vocab_size} tokens: "
                "prepare the tokens again with the tokenizer of this run."
            )
