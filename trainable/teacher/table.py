"""A bigram table: one sparse row for each context, and one vector that all rows share.

    p(next | c) = sparse(c)[next] + backoff_V[c] * base_V[next]

Every interpolated smoothing method has this form (teacher/smoothing.py). So the memory of a table is proportional to
the number of distinct bigrams, not to V * V, and E[c] = sum_k p(k | c) W[k] is a sparse product plus one shared vector.
The table holds plain numpy arrays, so that an object store shares it between processes without a copy; nothing here
writes to them. Its file holds the same arrays (record/array_file.py), so loading maps and checks them.

    V vocabulary   K distinct bigrams   C contexts asked for   N pairs asked for   Z non-zeros of the rows asked for
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from trainable.errors import InputError, require
from trainable.record.array_file import Arrays, Facts, Format

Ids = NDArray[np.integer[Any]]
ARRAYS: Final = ("indptr", "values", "backoff_V", "base_V", "indices")  # widest dtype first, so each stays aligned
FACTS: Final = ("vocab_size", "smoothing", "strength", "tokenizer_fingerprint", "counted_tokens", "rows")
SHORT_ROW_LIMIT: Final = 65_536  # largest vocabulary for which columns are uint16
CHUNK_PAIRS: Final = 1 << 20  # pairs that cross_entropy looks up at once

BIGRAM_FILE: Final = Format(
    magic=b"\x89BIGRAM\n",
    version=1,
    what="bigram table",
    making="count the table",
    places=lambda facts: [(name, facts["arrays"][name][0], (facts["arrays"][name][1],)) for name in ARRAYS],
)


@dataclass(frozen=True, kw_only=True, eq=False)
class BigramTable:
    """p(next | context) for a whole vocabulary, with facts about its making.

    Row c of the sparse part has the columns indices[indptr[c]:indptr[c + 1]] (ascending) and the values at the same
    indices. Each row sums to 1 within 1e-6, also the rows of contexts that were never seen.
    """

    indptr: NDArray[np.int64]  # [V + 1]
    indices: Ids  # [K], uint16 up to V = 65,536, else int32
    values: NDArray[np.float32]  # [K], at least 0
    backoff_V: NDArray[np.float32]  # weight of the shared vector in each row, in [0, 1]
    base_V: NDArray[np.float32]  # the shared vector: a distribution over next tokens
    vocab_size: int
    smoothing: str  # the method, as in config.Smoothing, or the name of a rival such as uniform
    strength: float | None  # k of add_k, lambda of jelinek_mercer, else None
    tokenizer_fingerprint: str
    counted_tokens: int  # number of bigrams counted, repeats included
    rows: str  # which rows of text were counted, e.g. "student"

    def __post_init__(self) -> None:
        wanted: dict[str, tuple[int, DTypeLike]] = {
            "indptr": (self.vocab_size + 1, np.int64),
            "indices": (len(self.values), column_dtype(self.vocab_size)),
            "values": (len(self.values), np.float32),
            "backoff_V": (self.vocab_size, np.float32),
            "base_V": (self.vocab_size, np.float32),
        }
        for name, (length, dtype) in wanted.items():
            array = getattr(self, name)
            if array.shape != (length,) or array.dtype != dtype:
                raise InputError(
                    f"a bigram table needs {name} as {np.dtype(dtype)}[{length}], not {array.dtype}{array.shape}."
                )
        if self.indptr[0] != 0 or self.indptr[-1] != len(self.values):
            raise InputError(f"the rows of a bigram table must cover its {len(self.values)} values: make it again.")

    @property
    def checksum(self) -> str:
        """Hex SHA-256 of facts and arrays, computed at each use; the file of a saved table ends with it."""
        return BIGRAM_FILE.checksum(file_facts(self), arrays_of(self))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(int(getattr(self, name).nbytes) for name in ARRAYS)

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the table for run.json: keys of record.run_record.TeacherFacts, without losses."""
        return {
            "rows": self.rows,
            "smoothing": self.smoothing,
            "bigrams": len(self.values),
            "counted_tokens": self.counted_tokens,
            "checksum": self.checksum,
        }

    def own_loss(self, ids_BxT: Ids, lengths_B: NDArray[np.int32] | None) -> float:
        """Mean loss of the table as a model of these blocks, nats per token; padding does not count."""
        prev_BxT, next_BxT = ids_BxT[:, :-1], ids_BxT[:, 1:]
        if lengths_B is not None:
            real_BxT = np.arange(1, ids_BxT.shape[1]) < lengths_B[:, None]
            prev_BxT, next_BxT = prev_BxT[real_BxT], next_BxT[real_BxT]
        return cross_entropy(self, prev_BxT.ravel(), next_BxT.ravel())

    def row(self, context: int) -> NDArray[np.float64]:
        """Whole distribution after one context, [V]: for tests and inspection, not for training."""
        row_V = self.base_V.astype(np.float64)
        row_V *= self.backoff_V[context]
        span = slice(self.indptr[context], self.indptr[context + 1])
        row_V[self.indices[span]] += self.values[span]
        return row_V


def table_without_context(
    base_V: NDArray[np.floating[Any]], *, smoothing: str, tokenizer_fingerprint: str, counted_tokens: int, rows: str
) -> BigramTable:
    """Make a table in which all contexts have one distribution, the shared vector."""
    return BigramTable(
        indptr=np.zeros(len(base_V) + 1, np.int64),
        indices=np.zeros(0, column_dtype(len(base_V))),
        values=np.zeros(0, np.float32),
        backoff_V=np.ones(len(base_V), np.float32),
        base_V=base_V.astype(np.float32),
        vocab_size=len(base_V),
        smoothing=smoothing,
        strength=None,
        tokenizer_fingerprint=tokenizer_fingerprint,
        counted_tokens=counted_tokens,
        rows=rows,
    )


def column_dtype(vocab_size: int) -> np.dtype[Any]:
    """Dtype of `indices`: uint16 up to V = 65,536, else int32, which SciPy and PyTorch use as index."""
    return np.dtype(np.uint16 if vocab_size <= SHORT_ROW_LIMIT else np.int32)


# --- look up probabilities --------------------------------------------------------------------------------------------


def probabilities(table: BigramTable, prev_N: Ids, next_N: Ids) -> NDArray[np.float64]:
    """Return p(next_N[i] | prev_N[i]), [N], by one binary search in all rows at once.

    Raises InputError for a token id outside the vocabulary.
    """
    check_ids(table, prev_N)
    check_ids(table, next_N)
    # 1 the index of each token in its row, or of the next larger one
    low_N, end_N = table.indptr[prev_N], table.indptr[prev_N.astype(np.int64) + 1]
    at_N = lower_bound(table.indices, low_N, end_N, next_N)
    # 2 the part of the shared vector, plus the sparse value if there is one
    p_N = table.backoff_V[prev_N].astype(np.float64) * table.base_V[next_N]
    inside = np.flatnonzero(at_N < end_N)
    found = inside[table.indices[at_N[inside]] == next_N[inside]]
    p_N[found] += table.values[at_N[found]]
    return np.minimum(p_N, 1.0)  # in float32 a probability of 1 can be stored as 1 + 1e-7


def cross_entropy(table: BigramTable, prev_N: Ids, next_N: Ids) -> float:
    """Mean of -log p(next | prev), nats per token; inf if a pair has probability 0, NaN without pairs."""
    if not len(prev_N):
        return float("nan")
    total = 0.0
    with np.errstate(divide="ignore"):
        for i in range(0, len(prev_N), CHUNK_PAIRS):
            p_n = probabilities(table, prev_N[i : i + CHUNK_PAIRS], next_N[i : i + CHUNK_PAIRS])
            total -= float(np.log(p_n).sum())
    return total / len(prev_N)


def cut_rows(
    table: BigramTable, contexts_C: Ids, index_dtype: DTypeLike = np.int64
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float32]]:
    """Cut the sparse rows of some contexts as a CSR matrix of C rows: indptr [C + 1], indices [Z], values [Z].

    The arrays are new and writable. The part of the shared vector is table.backoff_V[contexts_C] times table.base_V.
    Raises InputError for a context outside the vocabulary.
    """
    check_ids(table, contexts_C)
    contexts = contexts_C.astype(np.int64)
    starts, lengths = table.indptr[contexts], table.indptr[contexts + 1] - table.indptr[contexts]
    indptr_C1 = np.zeros(len(contexts) + 1, np.int64)
    np.cumsum(lengths, out=indptr_C1[1:])
    # one gather is faster than copying slices, and mode clip makes no copy, unlike mode raise
    entries_Z = np.repeat(starts - indptr_C1[:-1], lengths)
    entries_Z += np.arange(len(entries_Z))
    columns_Z = np.take(table.indices, entries_Z, mode="clip").astype(index_dtype, casting="safe")
    values_Z = np.take(table.values, entries_Z, mode="clip")
    return indptr_C1, columns_Z, values_Z


def lower_bound(sorted_K: Ids, low_N: NDArray[np.int64], high_N: NDArray[np.int64], wanted_N: Ids) -> NDArray[np.int64]:
    """Return for each i the first index in low_N[i] to high_N[i] at which sorted_K is not below wanted_N[i].

    If there is none, it is high_N[i]. All searches run until the longest has ended: to take ended searches out would
    cost more time than their idle steps.
    """
    low_N, left_N = low_N.copy(), high_N - low_N
    for _ in range(int(left_N.max(initial=0)).bit_length()):
        half_N = left_N >> 1
        below_N = np.take(sorted_K, low_N + half_N, mode="clip") < wanted_N
        below_N &= left_N > 0
        half_N += 1
        low_N += below_N * half_N
        left_N = np.where(below_N, left_N - half_N, half_N - 1)
    return low_N


def check_ids(table: BigramTable, ids_N: Ids) -> None:
    """Raise InputError for a token id outside the vocabulary."""
    if not len(ids_N):
        return
    for worst in (int(ids_N.max()), int(ids_N.min())):
        if not 0 <= worst < table.vocab_size:
            raise InputError(
                f"token id {worst} is outside the bigram table's vocabulary of {table.vocab_size} tokens: "
                "count the table and prepare the tokens with one tokenizer."
            )


# --- file -------------------------------------------------------------------------------------------------------------


def save_table(table: BigramTable, path: Path) -> None:
    """Write a bigram `table` to a file, atomically: `path` is the old file or the whole new one, never a part.

    Raises OSError if the file cannot be written.
    """
    BIGRAM_FILE.write(path, file_facts(table), arrays_of(table))


def load_table(path: Path, expect_tokenizer: str | None = None) -> BigramTable:
    """Load the bigram table in the file `path`, with read-only, memory-mapped arrays, after a check of every byte.

    expect_tokenizer: the fingerprint that `estimate_table` was given; None: any. `BigramTeacher(table)` makes a teacher
    of the table. Raises DamagedFile if a byte differs from what was written. Raises InputError if the file is missing,
    is not a bigram table, has another format version, or was counted with another tokenizer than the expected one.
    """
    table = BIGRAM_FILE.read(path, made_table)
    require_tokenizer(path, table.tokenizer_fingerprint, expect_tokenizer)
    return table


def require_tokenizer(path: Path, counted_with: str, expected: str | None) -> None:
    """Raise InputError if a table was counted with another tokenizer than the expected one (None: any)."""
    require(
        expected in (None, counted_with),
        f"{path} was counted with tokenizer {counted_with}, this run has {expected}: "
        "count the table again with this tokenizer.",
    )


def arrays_of(table: BigramTable) -> list[NDArray[Any]]:
    """Arrays in their order in the file."""
    return [getattr(table, name) for name in ARRAYS]


def file_facts(table: BigramTable) -> Facts:
    """Facts that the file holds: those of FACTS, and dtype and length of each array."""
    facts = {name: getattr(table, name) for name in FACTS}
    return facts | {"arrays": {name: [getattr(table, name).dtype.str, len(getattr(table, name))] for name in ARRAYS}}


def made_table(facts: Facts, arrays: Arrays) -> BigramTable:
    """Make the table from a file. Raises ValueError for a row outside the arrays, or an invalid probability."""
    table = BigramTable(**arrays, **{name: facts[name] for name in FACTS})
    if (np.diff(table.indptr) < 0).any():
        raise ValueError("its rows overlap")
    if len(table.indices) and not 0 <= int(table.indices.min()) <= int(table.indices.max()) < table.vocab_size:
        raise ValueError("a column is outside its vocabulary")
    for values in (table.values, table.backoff_V, table.base_V):
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError("a probability is negative or no number")
    return table
