"""Answers of a trained model about all training blocks: its likeliest next tokens at each position.

    p(next | position) = kept(position)[next] + lambda(position) * parent[next | token],    lambda = 1 - the sum of kept

A kept token takes 4 bytes: two for its id and two for its probability in half precision. The mass of all other tokens
goes to the parent, a bigram table of the same text, and takes no memory: lambda is computed when rows are cut. Early
in pre-training a model is so flat that half of its mass is there, so the parent decides what a student is taught: after
132 steps on books (width 32, 16 tokens kept) the whole model has loss 5.29, its answers over a unigram 5.86, over the
bigrams 5.23. Half precision holds multiples of 2^-24, so a sum of at most 1 is exact in float32, and lambda too. The
arrays are numpy arrays, so that an object store shares them between processes without a copy; nothing here writes to
them. Their file is written piece by piece, because they may be larger than the memory (record/array_file.py).

    B training blocks   T answered positions of a block (all but the last)   k tokens kept   V vocabulary   N positions
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainable.errors import require
from trainable.record.array_file import Arrays, Facts, Format, Place
from trainable.teacher.table import ARRAYS as TABLE_ARRAYS
from trainable.teacher.table import BigramTable, arrays_of, column_dtype, file_facts, made_table

Ids = NDArray[np.integer[Any]]
ARRAYS: Final = ("ids_BxTxk", "p_BxTxk")  # in file order, after those of the parent: wider dtypes first, so all aligned
FACTS: Final = ("vocab_size", "model", "tokenizer_fingerprint", "blocks_fingerprint", "counted_tokens")
LEAST_RESIDUAL: Final = 2.0**-24  # smallest lambda, the smallest step of half precision: no token has probability 0
CHECKED_POSITIONS: Final = 1 << 18  # positions checked at once when a file is loaded


def _places(facts: Facts) -> Iterator[Place]:
    """Name, dtype and shape of each array in the file: those of the parent, then those of the answers."""
    shape, column = tuple(facts["shape"]), column_dtype(facts["vocab_size"])
    for name in TABLE_ARRAYS:
        dtype, length = facts["parent"]["arrays"][name]
        yield f"parent {name}", dtype, (length,)
    yield from zip(ARRAYS, (column, np.float16), (shape, shape), strict=True)


ANSWER_FILE: Final = Format(
    magic=b"\x89ANSWRS\n", version=2, what="answer file", making="ask the teacher", places=_places
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """The likeliest next tokens at each position of the training blocks, and the model that gave them."""

    ids_BxTxk: Ids  # likeliest first; uint16 up to V = 65,536, else int32
    p_BxTxk: NDArray[np.float16]  # their sum is at most 1
    parent: BigramTable  # of the training rows; distributes the residual mass
    vocab_size: int
    model: str  # description of the model that answered
    tokenizer_fingerprint: str
    blocks_fingerprint: str  # of the training blocks
    counted_tokens: int  # number of tokens that the model was trained on; 0: a model from a folder

    def __post_init__(self) -> None:
        answered = self.ids_BxTxk.shape
        wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
            "ids_BxTxk": (column_dtype(self.vocab_size), answered),
            "p_BxTxk": (np.float16, answered),
        }
        for name, (dtype, shape) in wanted.items():
            array = getattr(self, name)
            require(
                array.dtype == dtype and array.shape == shape,
                f"answers need {name} as {np.dtype(dtype)}{shape}, not {array.dtype}{array.shape}.",
            )
        require(
            self.parent.vocab_size == self.vocab_size,
            f"answers over {self.vocab_size} tokens have a parent of {self.parent.vocab_size}: count it with their "
            "tokenizer.",
        )
        require(len(answered) == 3, f"answers need ids for each block, position and rank, not of shape {answered}.")

    @property
    def checksum(self) -> str:
        """Hex SHA-256 of facts and arrays, computed at each use; the file of the answers ends with it."""
        return ANSWER_FILE.checksum(_file_facts(self), _arrays(self))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, those of the parent included."""
        return self.parent.nbytes + sum(int(getattr(self, name).nbytes) for name in ARRAYS)

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the answers for run.json: keys of record.run_record.TeacherFacts, without losses."""
        return {
            "rows": "student",
            "smoothing": self.model,
            "bigrams": 0,
            "counted_tokens": self.counted_tokens,
            "checksum": self.checksum,
            "positions": math.prod(self.ids_BxTxk.shape[:2]),
            "top_k": self.ids_BxTxk.shape[2],
        }

    def own_loss(self, ids_BxT: Ids, lengths_B: NDArray[np.int32] | None) -> float:
        """Return NaN: only training blocks have answers; small_teacher.py measures the model on other blocks."""
        return math.nan

    def row(self, block: int, position: int, token: int) -> NDArray[np.float64]:
        """Whole distribution after the token at one position, [V]: for tests and inspection, not for training."""
        kept_k = self.p_BxTxk[block, position]
        row_V = self.parent.row(token) * float(residual(kept_k))
        row_V[self.ids_BxTxk[block, position]] += kept_k
        return row_V


def kept(p_NxK: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round probabilities to half precision, in the order given (likeliest first); one below 3e-8 becomes 0.

    If rounding raises the sum of a position, its largest probability is rounded down. So the mass left to the other
    tokens is at least the mass that the model left to them, and at least LEAST_RESIDUAL.
    """
    half_NxK = p_NxK.astype(np.float16)
    left_N = np.maximum(1 - p_NxK.sum(1, dtype=np.float64), LEAST_RESIDUAL)
    surplus_N = half_NxK.sum(1, dtype=np.float64) - (1 - left_N)
    over_N = np.flatnonzero(surplus_N > 0)
    wanted_n = half_NxK[over_N, 0].astype(np.float64) - surplus_N[over_N]
    lower_n = wanted_n.astype(np.float16)
    half_NxK[over_N, 0] = np.where(lower_n > wanted_n, np.nextafter(lower_n, np.float16(0)), lower_n)
    return half_NxK


def residual(p_NxK: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return lambda: 1 minus the mass of the kept tokens, summed along the last axis."""
    left: NDArray[np.float32] = np.float32(1) - p_NxK.sum(-1, dtype=np.float32)
    return left


# --- file -------------------------------------------------------------------------------------------------------------


def save_answers(answers: Answers, path: Path) -> None:
    """Write answers atomically: `path` is the old file or the whole new one, never a part."""
    ANSWER_FILE.write(path, _file_facts(answers), _arrays(answers))


def load_answers(path: Path, expect_tokenizer: str | None = None) -> Answers:
    """Load the answers in a file, read-only and memory-mapped, after a check of every byte.

    Raises DamagedFile if a byte differs from what was written. Raises InputError if the file is missing, holds no
    answers, has another format version, or, where `expect_tokenizer` gives a fingerprint, is of a model with another
    tokenizer.
    """
    answers = ANSWER_FILE.read(path, _made)
    require(
        expect_tokenizer in (None, answers.tokenizer_fingerprint),
        f"{path} is of a model with tokenizer {answers.tokenizer_fingerprint}, this run has {expect_tokenizer}: "
        f"{ANSWER_FILE.making} again.",
    )
    return answers


def _arrays(answers: Answers) -> list[NDArray[Any]]:
    """Arrays in their order in the file."""
    return [*arrays_of(answers.parent), *(getattr(answers, name) for name in ARRAYS)]


def _file_facts(answers: Answers) -> Facts:
    """Facts that the file holds: those of FACTS, the shape [B, T, k], and the facts of the parent."""
    facts = {name: getattr(answers, name) for name in FACTS}
    return {"shape": answers.ids_BxTxk.shape, "parent": file_facts(answers.parent), **facts}


def _made(facts: Facts, arrays: Arrays) -> Answers:
    """Make the answers from a file. Raises ValueError for an id outside the vocabulary or an invalid probability."""
    parent = made_table(facts["parent"], {name: arrays[f"parent {name}"] for name in TABLE_ARRAYS})
    ours = {name: arrays[name] for name in ARRAYS}
    answers = Answers(parent=parent, **ours, **{name: facts[name] for name in FACTS})
    width = answers.ids_BxTxk.shape[2]
    ids_NxK, p_NxK = answers.ids_BxTxk.reshape(-1, width), answers.p_BxTxk.reshape(-1, width)
    for first in range(0, len(ids_NxK), CHECKED_POSITIONS):
        here = slice(first, first + CHECKED_POSITIONS)
        if not 0 <= int(ids_NxK[here].min()) <= int(ids_NxK[here].max()) < answers.vocab_size:
            raise ValueError("a token is outside its vocabulary")
        if not (p_NxK[here] >= 0).all() or not (residual(p_NxK[here]) >= 0).all():  # NaN fails too
            raise ValueError("a probability is negative or no number, or several sum to more than 1")
    return answers
