"""An n-gram table: a trie of histories with one sparse row each, in plain arrays.

    p(k | history) = sparse(history)[k] + lambda(history) * p(k | history without its oldest token)

and so on, down to the empty history, whose p is the dense vector base_V. A level holds the rows of all histories of one
length. The entries of its rows, end to end, are the rows of the next level: the row of history (a, b) is the entry b in
the row of (a). So a row is found by one binary search for each token of the history. An n-gram takes 4 bytes: two for
its last token and two for the code of its count. It takes 4 more, for the start of its own row, unless it is of the
highest order. Total and lambda of a row are sums over its counts, computed when rows are cut. The arrays are numpy
arrays, so that an object store shares them between processes without a copy; nothing here writes to them.

    M order   V vocabulary   B blocks   T tokens of a block   K entries of a level   R rows of a level
    L distinct counts of a level   N positions, or histories asked for   C rows cut   Z non-zeros of the rows cut
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainable.errors import InputError, require
from trainable.record.array_file import Facts, Format
from trainable.teacher.table import column_dtype, lower_bound

Ids = NDArray[np.integer[Any]]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Counts = NDArray[np.unsignedinteger[Any]]
Discounts = tuple[float, float, float]  # of counts 1, 2, and 3 or more

LONG_ROWS: Final = 100  # mean row length from which copying slices is faster than gathering by index
CHUNK_POSITIONS: Final = 1 << 16  # positions that cross_entropy looks up at once
CHUNK_ENTRIES: Final = 1 << 20  # entries whose values whole_level computes at once

FACTS: Final = (
    "order", "vocab_size", "eos_id", "smoothing", "tokenizer_fingerprint", "counted_tokens", "rows", "discounts",
    "ngrams",
)  # fmt: skip
NGRAM_FILE: Final = Format(
    magic=b"\x89NGRAMS\n",
    version=1,
    what="n-gram table",
    making="count the table",
    places=lambda facts: [(name, dtype, (length,)) for name, dtype, length in facts["arrays"]],
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Level:
    """The rows of all histories of one length: counts of what followed them.

    Row r has the columns[indptr[r]:indptr[r + 1]] (ascending) and the codes at the same indices; count_L[code] is the
    adjusted count. The rows of level 1 are the tokens, those of a later level the entries of the level before. A row is
    empty if nothing was counted, or kept, after its history.
    """

    indptr: NDArray[np.uint32]  # [R + 1]
    columns: Ids  # [K], uint16 up to V = 65,536, else int32
    codes: Counts  # [K], uint16, or uint32 if there are more than 65,536 distinct counts
    count_L: NDArray[np.int64]  # ascending
    pruned_R: Counts | None  # sum of the counts that left each row: uint16, uint32 or uint64; None: no count left

    def __post_init__(self) -> None:
        require(
            len(self.indptr) > 0 and self.indptr[0] == 0 and self.indptr[-1] == len(self.columns) == len(self.codes),
            f"the rows of an n-gram table must cover its {len(self.columns)} entries: make it again.",
        )
        rows_fit = self.pruned_R is None or len(self.pruned_R) == len(self.indptr) - 1
        require(
            self.indptr.dtype == np.uint32 and self.count_L.dtype == np.int64 and rows_fit,
            "an n-gram table needs indptr as uint32, count_L as int64 and a pruned count for each row: make it again.",
        )

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return {name: array}, without arrays that are None."""
        names = ("indptr", "columns", "codes", "count_L", "pruned_R")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def spans(self, rows_N: Ids) -> tuple[Ints, Ints]:
        """Return the indices at which rows begin and end."""
        return self.indptr[rows_N].astype(np.int64), self.indptr[rows_N + 1].astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class NgramTable:
    """p(next | history) for histories of up to M - 1 tokens, with facts about its making.

    Each row, with its share of shorter histories, sums to 1 within 1e-6; so does the row of a history never seen.
    """

    levels: tuple[Level, ...]  # [M - 1], for histories of 1, 2, ..., M - 1 tokens
    base_V: NDArray[np.float32]  # distribution after the empty history
    order: int  # M
    vocab_size: int
    eos_id: int  # begins a document: no history reaches across eos, and entries with it have empty rows
    smoothing: str
    tokenizer_fingerprint: str
    counted_tokens: int  # tokens predicted, repeats included
    rows: str  # which rows of text were counted, e.g. "student"
    discounts: tuple[Discounts, ...]  # [M], of orders 1 to M
    ngrams: tuple[int, ...]  # [M], distinct n-grams counted of each order, also those that left; V for order 1

    def __post_init__(self) -> None:
        require(
            len(self.levels) == self.order - 1 and len(self.discounts) == len(self.ngrams) == self.order,
            f"an n-gram table of order {self.order} needs {self.order - 1} levels, not {len(self.levels)}.",
        )
        require(
            self.base_V.dtype == np.float32 and self.base_V.shape == (self.vocab_size,),
            f"an n-gram table needs base_V as float32[{self.vocab_size}], not {self.base_V.dtype}{self.base_V.shape}.",
        )
        rows = self.vocab_size
        for number, level in enumerate(self.levels, 1):
            require(
                len(level.indptr) == rows + 1 and level.columns.dtype == column_dtype(self.vocab_size),
                f"level {number} of this n-gram table needs {rows} rows and columns as "
                f"{column_dtype(self.vocab_size)}, not {len(level.indptr) - 1} and {level.columns.dtype}.",
            )
            rows = len(level.columns)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return {name: array} of all arrays in file order: widest dtype first, so that each stays aligned."""
        named = {f"{name}.{i}": array for i, level in enumerate(self.levels, 1) for name, array in level.arrays.items()}
        return dict(sorted({"base_V": self.base_V, **named}.items(), key=lambda item: -item[1].itemsize))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def checksum(self) -> str:
        """Hex SHA-256 of facts and arrays, computed at each use; the file of a saved table ends with it."""
        return NGRAM_FILE.checksum(self.file_facts, self.arrays.values())

    @property
    def file_facts(self) -> Facts:
        """Facts that the file holds before the arrays: those of FACTS, and name, dtype and length of each array."""
        facts = {name: getattr(self, name) for name in FACTS}
        return facts | {"arrays": [[name, array.dtype.str, len(array)] for name, array in self.arrays.items()]}

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the table for run.json. `bigrams` is the number for order 2, `ngrams` those from order 2 on."""
        return {
            "rows": self.rows,
            "smoothing": f"{self.smoothing} of order {self.order}",
            "bigrams": self.ngrams[1],
            "ngrams": list(self.ngrams[1:]),
            "counted_tokens": self.counted_tokens,
            "checksum": self.checksum,
        }

    def own_loss(self, ids_BxT: Ids, lengths_B: NDArray[np.int32] | None) -> float:
        """Mean loss of the table as a model of these blocks, nats per token; padding does not count."""
        return cross_entropy(self, ids_BxT, lengths_B)

    def row(self, history: Ids) -> Floats:
        """Whole distribution after one history, [V]: for tests and inspection, not for training."""
        row_V = self.base_V.astype(np.float64)
        if len(history):
            rows = cut(self, find_rows(self, np.asarray(history)[None]))
            for number in rows.ancestors(int(rows.row_BxT[0, -1])):
                span = slice(rows.indptr[number], rows.indptr[number + 1])
                row_V *= rows.lambda_C[number]
                row_V[rows.columns[span]] += rows.values[span]
        return row_V


@dataclass(frozen=True, kw_only=True, eq=False)
class RowSet:
    """The rows of some positions, and all rows that these back off to, as one CSR matrix; parents come first.

    Row i as a distribution is its sparse part + lambda_C[i] * (row parent_C[i], or base_V if parent_C[i] is -1).
    """

    indptr: Ints  # [C + 1]
    columns: NDArray[np.int32]  # [Z], ascending within a row
    values: NDArray[np.float32]  # [Z]
    lambda_C: NDArray[np.float32]
    parent_C: Ints
    bounds: tuple[int, ...]  # [M]: rows bounds[m - 1]:bounds[m] are those of histories of m tokens
    row_BxT: Ints  # the row of each position's longest history that was seen; -1: base_V

    def ancestors(self, number: int) -> list[int]:
        """Return a row and all rows that it backs off to, shortest history first; nothing for -1."""
        chain: list[int] = []
        while number >= 0:
            chain.insert(0, number)
            number = int(self.parent_C[number])
        return chain


# --- find and cut rows ------------------------------------------------------------------------------------------------


def find_rows(table: NgramTable, ids_BxT: Ids, begins_BxT: NDArray[np.bool_] | None = None) -> Ints:
    """Find the rows of the histories of 1, 2, ..., M - 1 tokens that end at each position: row numbers [M - 1, B, T].

    The number is -1 if the history was never seen, has no row, or would begin before its block, before an eos, or
    before the last position where `begins_BxT` is true. Raises InputError for a token id outside the vocabulary.
    """
    check_ids(table, ids_BxT)
    row_MxBxT = np.full((len(table.levels), *ids_BxT.shape), -1, np.int64)
    row_MxBxT[0] = ids_BxT
    for i, level in enumerate(table.levels):
        # 1 a history with an empty row counts as one without a row
        start_BxT, end_BxT = level.spans(row_MxBxT[i])
        row_MxBxT[i][start_BxT == end_BxT] = -1
        if i + 1 == len(table.levels):
            break
        # 2 the history grows by the next token, an entry of its row; eos has an empty row, so no history crosses it
        grows_BxT = row_MxBxT[i, :, :-1] >= 0
        if begins_BxT is not None:
            grows_BxT &= ~begins_BxT[:, 1:]
        history_N, token_N = row_MxBxT[i, :, :-1][grows_BxT], ids_BxT[:, 1:][grows_BxT]
        row_MxBxT[i + 1, :, 1:][grows_BxT] = _entries(level, history_N, token_N)
    return row_MxBxT


@dataclass(frozen=True, kw_only=True, eq=False)
class DistinctRows:
    """The distinct rows of some positions, and all rows that these back off to: numbers of rows, without their content.

    The rows of all levels stand end to end, shorter histories first.
    """

    rows: tuple[Ints, ...]  # [M - 1]: for each level its row numbers, ascending
    parent_C: Ints  # place of each row's parent among all these rows; -1: base_V
    bounds: tuple[int, ...]  # [M]: rows bounds[m - 1]:bounds[m] are those of histories of m tokens
    row_BxT: Ints  # place of the row of each position's longest history that was seen; -1: base_V


def distinct_rows(row_MxBxT: Ints) -> DistinctRows:
    """Return the distinct rows among those of some positions (from `find_rows`).

    The parent of a row is the row of the same position in the level before.
    """
    number_N = np.full(row_MxBxT[0].size, -1, np.int64)
    rows, parents, bounds = [], [], [0]
    for row_N in row_MxBxT.reshape(len(row_MxBxT), -1):
        here_n = np.flatnonzero(row_N >= 0)
        rows_C, first_C, place_n = np.unique(row_N[here_n], return_index=True, return_inverse=True)
        parents.append(number_N[here_n[first_C]])
        number_N[here_n] = bounds[-1] + place_n
        rows.append(rows_C)
        bounds.append(bounds[-1] + len(rows_C))
    return DistinctRows(
        rows=tuple(rows),
        parent_C=np.concatenate(parents),
        bounds=tuple(bounds),
        row_BxT=number_N.reshape(row_MxBxT.shape[1:]),
    )


def cut(table: NgramTable, row_MxBxT: Ints) -> RowSet:
    """Cut the distinct rows of some positions (from `find_rows`), with all rows that these back off to."""
    # 1 the distinct rows of each level
    distinct = distinct_rows(row_MxBxT)
    rows, bounds = distinct.rows, distinct.bounds
    # 2 the place of their entries, all levels end to end
    spans = [level.spans(rows_C) for level, rows_C in zip(table.levels, rows, strict=True)]
    indptr_C1 = np.zeros(bounds[-1] + 1, np.int64)
    np.cumsum(np.concatenate([end_C - start_C for start_C, end_C in spans]), out=indptr_C1[1:])
    columns_Z, values_Z = np.empty(indptr_C1[-1], np.int32), np.empty(indptr_C1[-1], np.float32)
    # 3 the entries, divided by the total of their row
    lambdas = []
    for i, level in enumerate(table.levels):
        here = slice(indptr_C1[bounds[i]], indptr_C1[bounds[i + 1]])
        codes_z = _gathered(level, *spans[i], columns_Z[here])
        length_C = spans[i][1] - spans[i][0]
        total_C, kept_C, kept_z = _masses(level, table.discounts[i + 1], rows[i], length_C, codes_z)
        np.multiply(kept_z, np.repeat(1 / total_C, length_C), out=values_Z[here], casting="same_kind")
        lambdas.append(((total_C - kept_C) / total_C).astype(np.float32))
    return RowSet(
        indptr=indptr_C1,
        columns=columns_Z,
        values=values_Z,
        lambda_C=np.concatenate(lambdas),
        parent_C=distinct.parent_C,
        bounds=bounds,
        row_BxT=distinct.row_BxT,
    )


def whole_level(level: Level, discounts: Discounts) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the sparse values of all entries of a level, [K], and lambda of all its rows, [R]; 0 for an empty row."""
    values_K, lambda_R = np.empty(len(level.columns), np.float32), np.zeros(len(level.indptr) - 1, np.float32)
    rows_C = np.flatnonzero(level.indptr[1:] > level.indptr[:-1])
    start_C, end_C = level.spans(rows_C)
    pieces = np.searchsorted(start_C, np.arange(0, len(values_K), CHUNK_ENTRIES))
    for first, last in pairwise(np.unique([*pieces, len(rows_C)]).tolist()):
        here = slice(start_C[first], end_C[last - 1])  # neighbouring rows have neighbouring entries
        rows_c, length_c = rows_C[first:last], (end_C - start_C)[first:last]
        total_c, kept_c, kept_z = _masses(level, discounts, rows_c, length_c, level.codes[here])
        np.multiply(kept_z, np.repeat(1 / total_c, length_c), out=values_K[here], casting="same_kind")
        lambda_R[rows_c] = (total_c - kept_c) / total_c
    return values_K, lambda_R


def _gathered(level: Level, start_C: Ints, end_C: Ints, columns_Z: NDArray[np.int32]) -> Counts:
    """Return the codes of the entries start_C to end_C of a level, end to end; write their columns to `columns_Z`."""
    if len(columns_Z) > LONG_ROWS * len(start_C):
        spans = [slice(a, b) for a, b in zip(start_C.tolist(), end_C.tolist(), strict=True)]
        np.concatenate([level.columns[span] for span in spans], out=columns_Z, casting="safe")
        return np.concatenate([level.codes[span] for span in spans])
    length_C = end_C - start_C
    at_Z = np.repeat(start_C - (np.cumsum(length_C) - length_C), length_C) + np.arange(len(columns_Z))
    columns_Z[:] = np.take(level.columns, at_Z, mode="clip")  # mode clip makes no copy, unlike mode raise
    codes_Z: Counts = np.take(level.codes, at_Z, mode="clip")
    return codes_Z


def _masses(
    level: Level, discounts: Discounts, rows_C: Ints, length_C: Ints, codes_Z: Counts
) -> tuple[Floats, Floats, Floats]:
    """Return, of rows that are not empty: sums of counts [C], sums of discounted counts [C], discounted counts [Z]."""
    if not len(rows_C):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    first_C = np.cumsum(length_C) - length_C
    at_Z = codes_Z.astype(np.intp)  # converted once, used twice
    kept_Z = _discounted(level, discounts)[at_Z]
    total_C = np.add.reduceat(level.count_L.astype(np.float64)[at_Z], first_C)
    if level.pruned_R is not None:
        total_C += level.pruned_R[rows_C]
    return total_C, np.add.reduceat(kept_Z, first_C), kept_Z


def _discounted(level: Level, discounts: Discounts) -> Floats:
    """Each distinct count minus its discount."""
    kept_L: Floats = level.count_L - np.array([0.0, *discounts])[np.minimum(level.count_L, 3)]
    return kept_L


def _entries(level: Level, rows_N: Ints, tokens_N: Ids) -> Ints:
    """Index of each token's entry in its row; -1 if the row has none. Runs one binary search in all rows at once."""
    low_N, end_N = level.spans(rows_N)
    at_N = lower_bound(level.columns, low_N, end_N, tokens_N)
    inside = np.flatnonzero(at_N < end_N)
    found = inside[level.columns[at_N[inside]] == tokens_N[inside]]
    entry_N = np.full(len(at_N), -1, np.int64)
    entry_N[found] = at_N[found]
    return entry_N


def check_ids(table: NgramTable, ids: Ids) -> None:
    """Raise InputError for a token id outside the vocabulary."""
    if not ids.size:
        return
    for worst in (int(ids.max()), int(ids.min())):
        if not 0 <= worst < table.vocab_size:
            raise InputError(
                f"token id {worst} is outside the n-gram table's vocabulary of {table.vocab_size} tokens: "
                "count the table and prepare the tokens with one tokenizer."
            )


# --- look up probabilities --------------------------------------------------------------------------------------------


def probabilities(table: NgramTable, ids_BxT: Ids, lengths_B: Ids | None = None) -> Floats:
    """Probability of each token of a block except the first, given the tokens before it in the block: [B, T - 1].

    It is NaN for padding, from lengths_B[b] on. Raises InputError for a real token id outside the vocabulary.
    """
    ids_BxT = np.asarray(ids_BxT)
    blocks, context = ids_BxT.shape
    lengths_B = np.full(blocks, context) if lengths_B is None else lengths_B
    real_BxT = np.arange(context) < lengths_B[:, None]
    ids_BxT = np.where(real_BxT, ids_BxT, table.eos_id)
    row_MxBxT = find_rows(table, ids_BxT)[:, :, :-1]
    next_BxT = ids_BxT[:, 1:]
    p_BxT = table.base_V[next_BxT].astype(np.float64)
    for i, level in enumerate(table.levels):
        # 1 the rows of this level: the sums of each distinct row, once
        seen_BxT = row_MxBxT[i] >= 0
        rows_C, row_N = np.unique(row_MxBxT[i][seen_BxT], return_inverse=True)
        start_C, end_C = level.spans(rows_C)
        length_C = end_C - start_C
        codes_Z = _gathered(level, start_C, end_C, np.empty(length_C.sum(), np.int32))
        total_C, kept_C, _ = _masses(level, table.discounts[i + 1], rows_C, length_C, codes_Z)
        # 2 the token's own part in the row, plus lambda times its probability after the shorter history
        entry_N = _entries(level, rows_C[row_N], next_BxT[seen_BxT])
        kept_N = np.zeros(len(entry_N))
        found = np.flatnonzero(entry_N >= 0)
        kept_N[found] = _discounted(level, table.discounts[i + 1])[level.codes[entry_N[found]]]
        p_BxT[seen_BxT] = (kept_N + (total_C - kept_C)[row_N] * p_BxT[seen_BxT]) / total_C[row_N]
    return np.where(real_BxT[:, 1:], np.minimum(p_BxT, 1.0), np.nan)


def cross_entropy(table: NgramTable, ids_BxT: Ids, lengths_B: Ids | None = None) -> float:
    """Mean of -log p of each token of a block except the first, nats per token; NaN if there is no such token."""
    blocks, context = ids_BxT.shape
    step = max(1, CHUNK_POSITIONS // max(1, context))
    total, count = 0.0, 0
    for i in range(0, blocks, step):
        lengths_b = None if lengths_B is None else lengths_B[i : i + step]
        p_bxT = probabilities(table, ids_BxT[i : i + step], lengths_b)
        real_n = p_bxT[~np.isnan(p_bxT)]
        total -= float(np.log(real_n).sum())
        count += len(real_n)
    return total / count if count else float("nan")
