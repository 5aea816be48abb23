"""The teacher: a bigram table with one sparse row per context, and one vector shared by all rows.

    p(next | c) = sparse(c)[next] + backoff_V[c] * base_V[next]

Every interpolated smoothing method has this form (teacher/smoothing.py), so a table takes memory in proportion to
the distinct bigrams, not to V * V, and E[c] = sum_k p(k | c) W[k] is a sparse product plus one shared vector. The
table holds plain numpy arrays, so that an object store shares it between processes without a copy; nothing here
writes to them. Its file is the same arrays (record/array_file.py), so that loading is mapping and checking.

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
ARRAYS: Final = ("indptr", "values", "backoff_V", "base_V", "indices")  # widest first: each stays aligned in a file
FACTS: Final = ("vocab_size", "smoothing", "strength", "tokenizer_fingerprint", "counted_tokens", "rows")
SHORT_ROW_LIMIT: Final = 65_536  # vocabulary up to which columns are uint16
CHUNK_PAIRS: Final = 1 << 20  # looked up at once by cross_entropy

BIGRAM_FILE: Final = Format(
    magic=b"\x89BIGRAM\n",
    version=1,
    what="bigram table",
    making="count the table",
    places=lambda facts: [(name, facts["arrays"][name][0], (facts["arrays"][name][1],)) for name in ARRAYS],
)


@dataclass(frozen=True, kw_only=True, eq=False)
class BigramTable:
    """p(next | context) for a whole vocabulary, and where it comes from.

    Row c of the sparse part is indices[indptr[c]:indptr[c + 1]] (ascending) with the values beside them.
    Each row sums to 1 within 1e-6, rows of contexts never seen included.
    """

    indptr: NDArray[np.int64]  # [V + 1]
    indices: Ids  # [K], uint16 up to V = 65,536, else int32
    values: NDArray[np.float32]  # [K], at least 0
    backoff_V: NDArray[np.float32]  # weight of the shared vector in each row, in [0, 1]
    base_V: NDArray[np.float32]  # the shared vector: a distribution over next tokens
    vocab_size: int
    smoothing: str  # the method, as in config.Smoothing, or what a control is called
    strength: float | None  # k of add_k, lambda of jelinek_mercer, else None
    tokenizer_fingerprint: str
    counted_tokens: int  # bigrams counted, repeats included
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
        """Hex SHA-256 of facts and arrays, computed at each use; the file of a saved table ends with the same."""
        return BIGRAM_FILE.checksum(_file_facts(self), _arrays(self))

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(int(getattr(self, name).nbytes) for name in ARRAYS)

    @property
    def facts(self) -> dict[str, Any]:
        """What the record says of it."""
        return {
            "rows": self.rows,
            "smoothing": self.smoothing,
            "bigrams": len(self.values),
            "counted_tokens": self.counted_tokens,
            "checksum": self.checksum,
        }

    def own_loss(self, ids_BxT: Ids, lengths_B: NDArray[np.int32] | None) -> float:
        """Its loss as a model of these blocks, nats per token; padding does not count."""
        prev_BxT, next_BxT = ids_BxT[:, :-1], ids_BxT[:, 1:]
        if lengths_B is not None:
            real_BxT = np.arange(1, ids_BxT.shape[1]) < lengths_B[:, None]
            prev_BxT, next_BxT = prev_BxT[real_BxT], next_BxT[real_BxT]
        return cross_entropy(self, prev_BxT.ravel(), next_BxT.ravel())

    def row(self, context: int) -> NDArray[np.float64]:
        """The whole distribution after one context, [V]. For tests and for looking at a table; not for training."""
        row_V = self.base_V.astype(np.float64)
        row_V *= self.backoff_V[context]
        span = slice(self.indptr[context], self.indptr[context + 1])
        row_V[self.indices[span]] += self.values[span]
        return row_V


def table_without_context(
    base_V: NDArray[np.floating[Any]], *, smoothing: str, tokenizer_fingerprint: str, counted_tokens: int, rows: str
) -> BigramTable:
    """A table of one distribution, the shared vector, for all contexts."""
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
    """The type of `indices`: uint16, or int32, as wide as uint32 and what SciPy and PyTorch index by."""
    return np.dtype(np.uint16 if vocab_size <= SHORT_ROW_LIMIT else np.int32)


# --- looked up --------------------------------------------------------------------------------------------------------


def probabilities(table: BigramTable, prev_N: Ids, next_N: Ids) -> NDArray[np.float64]:
    """p(next_N[i] | prev_N[i]), [N]: a binary search in all rows at once.

    Raises InputError for a token id outside the vocabulary.
    """
    check_ids(table, prev_N)
    check_ids(table, next_N)
    # 1 where in its row each token stands, or would
    low_N, end_N = table.indptr[prev_N], table.indptr[prev_N.astype(np.int64) + 1]
    at_N = lower_bound(table.indices, low_N, end_N, next_N)
    # 2 the share of the shared vector, and the sparse value where there is one
    p_N = table.backoff_V[prev_N].astype(np.float64) * table.base_V[next_N]
    inside = np.flatnonzero(at_N < end_N)
    found = inside[table.indices[at_N[inside]] == next_N[inside]]
    p_N[found] += table.values[at_N[found]]
    return np.minimum(p_N, 1.0)  # stored in float32, a certain event can round to 1 + 1e-7


def cross_entropy(table: BigramTable, prev_N: Ids, next_N: Ids) -> float:
    """Mean of -log p(next | prev), nats per token; inf where a pair has probability 0, NaN without pairs."""
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
    """The sparse rows of some contexts as a CSR matrix of C rows: indptr [C + 1], indices [Z], values [Z].

    The arrays are new and writable. The part of the shared vector is table.backoff_V[contexts_C] times table.base_V.
    Raises InputError for a context outside the vocabulary.
    """
    check_ids(table, contexts_C)
    contexts = contexts_C.astype(np.int64)
    starts, lengths = table.indptr[contexts], table.indptr[contexts + 1] - table.indptr[contexts]
    indptr_C1 = np.zeros(len(contexts) + 1, np.int64)
    np.cumsum(lengths, out=indptr_C1[1:])
    # One gather: faster than copying slices where rows are short (some 75 entries in a step of 1,024 tokens).
    entries_Z = np.arange(indptr_C1[-1]) + np.repeat(starts - indptr_C1[:-1], lengths)
    columns_Z = table.indices[entries_Z].astype(index_dtype, casting="safe")
    values_Z = table.values[entries_Z]
    return indptr_C1, columns_Z, values_Z


def lower_bound(sorted_K: Ids, low_N: NDArray[np.int64], high_N: NDArray[np.int64], wanted_N: Ids) -> NDArray[np.int64]:
    """For each i, the first place in sorted_K[low_N[i]:high_N[i]] that is not below wanted_N[i].

    All searches go on until the longest has ended: to leave out those that have is dearer than their steps.
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


# --- its file ---------------------------------------------------------------------------------------------------------


def save_table(table: BigramTable, path: Path) -> None:
    """Write a bigram `table` to a file: `path` is the old file or the whole new one, never a part.

    Raises OSError where it cannot be written.
    """
    BIGRAM_FILE.write(path, _file_facts(table), _arrays(table))


def load_table(path: Path, expect_tokenizer: str | None = None) -> BigramTable:
    """The bigram table in the file `path`, its arrays read-only and memory-mapped, after a check of every byte.

    expect_tokenizer: the fingerprint that `estimate_table` was given; None: any. `BigramTeacher(table)` teaches it.
    Raises DamagedFile where a byte is not what was written, InputError if the file is missing, no bigram table, of
    another format version, or counted with another tokenizer than the expected one.
    """
    table = BIGRAM_FILE.read(path, _made)
    require_tokenizer(path, table.tokenizer_fingerprint, expect_tokenizer)
    return table


def require_tokenizer(path: Path, counted_with: str, expected: str | None) -> None:
    """Raise InputError for a table of another tokenizer than the expected one; None: any will do."""
    require(
        expected in (None, counted_with),
        f"{path} was counted with tokenizer {counted_with}, this run has {expected}: "
        "count the table again with this tokenizer.",
    )


def _arrays(table: BigramTable) -> list[NDArray[Any]]:
    """The arrays as they stand in the file."""
    return [getattr(table, name) for name in ARRAYS]


def _file_facts(table: BigramTable) -> Facts:
    """The facts, and type and length of each array."""
    facts = {name: getattr(table, name) for name in FACTS}
    return facts | {"arrays": {name: [getattr(table, name).dtype.str, len(getattr(table, name))] for name in ARRAYS}}


def _made(facts: Facts, arrays: Arrays) -> BigramTable:
    """The table. Raises ValueError where a row reaches out of memory, or a probability is none."""
    table = BigramTable(**arrays, **{name: facts[name] for name in FACTS})
    if (np.diff(table.indptr) < 0).any():
        raise ValueError("its rows overlap")
    if len(table.indices) and not 0 <= int(table.indices.min()) <= int(table.indices.max()) < table.vocab_size:
        raise ValueError("a column is outside its vocabulary")
    for values in (table.values, table.backoff_V, table.base_V):
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError("a probability is negative or no number")
    return table
