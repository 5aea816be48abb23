"""Build the teacher table of a run: rows -> counts -> table; each part of the rows is counted once for all arms.

Counts can be added (teacher/counts.py): the table of a fold is made from the sum of the counts of the other folds'
rows, and no row is counted again for the next fold, smoothing or arm. Tables are cached under a fingerprint of their
inputs.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from trainable.record.cache import Manifest, built_once
from trainable.record.files import fingerprint
from trainable.teacher.answers import Answers
from trainable.teacher.counts import CHUNK_TOKENS, BigramCounts, Ids, add_all, count_bigrams, count_blocks
from trainable.teacher.kinds import teacher_class
from trainable.teacher.material import Material
from trainable.teacher.ngram_counts import NgramCounts, count_block_ngrams, count_ngrams, tokens_before
from trainable.teacher.settings import TeacherConfig
from trainable.teacher.teacher import RowTeacher, Table
from trainable.text.blocks import TokenBlocks
from trainable.text.tokenizer.tokenizer import TextTokenizer
from trainable.text.workers import LOCAL, Workers, own_cores, tree_sum

TABLE_FORMAT = 4  # raise it when the same settings give another table, or when the file gets another name
TABLE_FILE = "table.bin"
TRAVELLING_TOKENS = 1 << 24  # of a piece sent to a worker; pieces counted in this process have CHUNK_TOKENS


class Counter:
    """Counts of parts of the rows; each part is counted when it is first asked for, and its counts are kept."""

    def __init__(self, workers: Workers = LOCAL) -> None:
        self._workers = workers
        self._bigrams: dict[str, BigramCounts] = {}  # by fingerprint of the part
        self._ngrams: dict[tuple[str, int], NgramCounts] = {}  # by fingerprint of the part and order

    def __call__(self, parts: Sequence[TokenBlocks]) -> BigramCounts:
        """Count all bigrams of the parts' text, none across the border of two parts; padding is not counted."""
        for part in parts:
            if part.fingerprint not in self._bigrams:
                self._bigrams[part.fingerprint] = count(part, self._workers)
        return add_all((self._bigrams[part.fingerprint] for part in parts), parts[0].vocab_size)

    def ngrams(self, parts: Sequence[TokenBlocks], order: int) -> NgramCounts:
        """Count all n-grams of an order in the parts' text, as `__call__` counts bigrams."""
        for part in parts:
            if (part.fingerprint, order) not in self._ngrams:
                self._ngrams[part.fingerprint, order] = count_of_order(part, order, self._workers)
        total: NgramCounts = tree_sum(self._ngrams[part.fingerprint, order] for part in parts)
        return total


def count(blocks: TokenBlocks, workers: Workers = LOCAL) -> BigramCounts:
    """Count all bigrams of the blocks' text, piece by piece; padding is not counted."""
    padded = blocks.lengths_B is not None
    count_piece, pieces = (_count_blocks, _block_pieces) if padded else (_count_stream, _stream_pieces)
    counts: BigramCounts = workers.sum(partial(count_piece, blocks.vocab_size), pieces(blocks, _tokens_of(workers)))
    return counts


def count_of_order(blocks: TokenBlocks, order: int, workers: Workers = LOCAL) -> NgramCounts:
    """Count all n-grams of the blocks' text, piece by piece; padding is not counted."""
    count_piece, pieces = _count_ngram_stream, _ngram_pieces(blocks, order, _tokens_of(workers))
    if blocks.lengths_B is not None:
        count_piece, pieces = _count_ngram_blocks, _block_pieces(blocks, _tokens_of(workers))
    counts: NgramCounts = workers.sum(partial(count_piece, (blocks.vocab_size, order, blocks.eos_id)), pieces)
    return counts


def _tokens_of(workers: Workers) -> int:
    """Number of tokens in a piece."""
    return CHUNK_TOKENS if workers.size == 1 else TRAVELLING_TOKENS


def _stream_pieces(blocks: TokenBlocks, tokens: int) -> Iterator[tuple[int, Ids]]:
    """Yield pieces of a stream: (the token before the piece, the tokens of the piece)."""
    for first in range(0, max(1, len(blocks.stream_N)), tokens):
        yield int(blocks.stream_N[first - 1]) if first else blocks.eos_id, blocks.stream_N[first : first + tokens]


def _ngram_pieces(blocks: TokenBlocks, order: int, tokens: int) -> Iterator[tuple[Ids, Ids]]:
    """Yield pieces of a stream: (the order - 1 tokens before the piece, the tokens of the piece)."""
    for first in range(0, max(1, len(blocks.stream_N)), tokens):
        before = tokens_before(blocks.stream_N, first, order, blocks.eos_id)
        yield before, blocks.stream_N[first : first + tokens]


def _block_pieces(blocks: TokenBlocks, tokens: int) -> Iterator[tuple[Ids, Ids]]:
    """Yield pieces of padded blocks: (blocks, number of real tokens in each)."""
    assert blocks.lengths_B is not None
    step = max(1, tokens // blocks.ids_BxT.shape[1])
    for first in range(0, max(1, len(blocks.ids_BxT)), step):
        yield blocks.ids_BxT[first : first + step], blocks.lengths_B[first : first + step]


def _count_stream(vocab_size: int, piece: tuple[int, Ids]) -> BigramCounts:
    before, ids_n = piece
    return count_bigrams(ids_n, vocab_size, first_context=before, threads=min(4, own_cores()))


def _count_blocks(vocab_size: int, piece: tuple[Ids, Ids]) -> BigramCounts:
    return count_blocks(*piece, vocab_size)


def _count_ngram_stream(what: tuple[int, int, int], piece: tuple[Ids, Ids]) -> NgramCounts:
    (vocab_size, order, eos_id), (before, ids_n) = what, piece
    return count_ngrams(ids_n, vocab_size, order, eos_id=eos_id, before=before, threads=min(4, own_cores()))


def _count_ngram_blocks(what: tuple[int, int, int], piece: tuple[Ids, Ids]) -> NgramCounts:
    vocab_size, order, eos_id = what
    return count_block_ngrams(*piece, vocab_size, order, eos_id=eos_id)


def teacher_table(
    teacher: TeacherConfig,
    parts: Sequence[TokenBlocks],
    tokenizer: TextTokenizer,
    cache: Path,
    counter: Counter,
    answers: Callable[[], Answers] | None = None,
) -> Table:
    """Return the teacher table of the parts' rows, from the cache or made now.

    answers: returns the answers of a model that was trained on these rows; only a teacher of kind model needs them.
    """
    kind = teacher_class(teacher.kind)
    assert issubclass(kind, RowTeacher), f"a teacher of kind {teacher.kind} has no table"
    material = material_of(
        teacher,
        vocab_size=tokenizer.vocab_size,
        tokenizer_fingerprint=tokenizer.fingerprint,
        counts=lambda: counter(parts),
        ngrams=lambda order: counter.ngrams(parts, order),
        answers=answers,
    )
    if (file := kind.table_file) is None:
        return kind.prepare(material)
    shaping = [TABLE_FORMAT, [part.fingerprint for part in parts], *teacher.table_settings]
    folder = cache / "tables" / fingerprint(shaping)

    def build(into: Path) -> Manifest:
        file.save(kind.prepare(material), into / TABLE_FILE)
        return {"shaping": shaping}

    built_once(folder, build)
    table: Table = file.load(folder / TABLE_FILE, tokenizer.fingerprint)
    return table


def material_of(
    teacher: TeacherConfig,
    *,
    vocab_size: int,
    tokenizer_fingerprint: str,
    counts: Callable[[], BigramCounts],
    ngrams: Callable[[int], NgramCounts],
    answers: Callable[[], Answers] | None = None,
) -> Material:
    """Make the material of a teacher from its settings and from the counts or answers."""
    return Material(
        counts=counts,
        ngrams=ngrams,
        answers=answers,
        vocab_size=vocab_size,
        tokenizer_fingerprint=tokenizer_fingerprint,
        rows=teacher.rows,
        smoothing=teacher.smoothing,
        strength=teacher.smoothing_strength,
        min_counts=teacher.min_counts,
        order=teacher.order,
    )


def teacher_loss(table: Table, blocks: TokenBlocks) -> float | None:
    """The teacher's own loss on validation blocks, nats per token; None if a target has probability 0."""
    loss = table.own_loss(blocks.ids_BxT, blocks.lengths_B)
    return loss if np.isfinite(loss) else None
