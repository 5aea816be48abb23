"""The teacher's table of a run: rows -> counts -> table, each part of the rows counted once for all folds and arms.

Counts add (teacher/counts.py): the table of a fold is made from the sum of the counts of the other folds' rows, and
no row is counted again for the next fold, smoothing, or arm. Tables are cached under a fingerprint of what shapes them.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from trainable.record.cache import Manifest, built_once
from trainable.record.files import fingerprint
from trainable.teacher.counts import CHUNK_TOKENS, BigramCounts, Ids, add_all, count_bigrams, count_blocks
from trainable.teacher.kinds import KINDS, Material
from trainable.teacher.settings import TeacherConfig
from trainable.teacher.table import BigramTable, cross_entropy, load_table, save_table
from trainable.text.blocks import TokenBlocks
from trainable.text.tokenizer.tokenizer import TextTokenizer
from trainable.text.workers import LOCAL, Workers, own_cores

TABLE_FORMAT = 3  # raise when the same settings give another table
TABLE_FILE = "table.bigram"
TRAVELLING_TOKENS = 1 << 24  # of a piece that is counted elsewhere; here CHUNK_TOKENS, for merging costs


class Counter:
    """Counts of parts of the rows, each counted when it is first asked for and kept for the next."""

    def __init__(self, workers: Workers = LOCAL) -> None:
        self._workers = workers
        self._counts: dict[str, BigramCounts] = {}  # by fingerprint of the part

    def __call__(self, parts: Sequence[TokenBlocks]) -> BigramCounts:
        """All bigrams of the parts' text, none across two parts' rows; padding is not counted."""
        for part in parts:
            if part.fingerprint not in self._counts:
                self._counts[part.fingerprint] = count(part, self._workers)
        return add_all((self._counts[part.fingerprint] for part in parts), parts[0].vocab_size)


def count(blocks: TokenBlocks, workers: Workers = LOCAL) -> BigramCounts:
    """All bigrams of the blocks' text, piece by piece; padding is not counted."""
    tokens = CHUNK_TOKENS if workers.size == 1 else TRAVELLING_TOKENS
    padded = blocks.lengths_B is not None
    count_piece, pieces = (_count_blocks, _block_pieces) if padded else (_count_stream, _stream_pieces)
    counts: BigramCounts = workers.sum(partial(count_piece, blocks.vocab_size), pieces(blocks, tokens))
    return counts


def _stream_pieces(blocks: TokenBlocks, tokens: int) -> Iterator[tuple[int, Ids]]:
    """Pieces of a stream: (the token before, tokens)."""
    for first in range(0, max(1, len(blocks.stream_N)), tokens):
        yield int(blocks.stream_N[first - 1]) if first else blocks.eos_id, blocks.stream_N[first : first + tokens]


def _count_stream(vocab_size: int, piece: tuple[int, Ids]) -> BigramCounts:
    before, ids_n = piece
    return count_bigrams(ids_n, vocab_size, first_context=before, threads=min(4, own_cores()))


def _block_pieces(blocks: TokenBlocks, tokens: int) -> Iterator[tuple[Ids, Ids]]:
    """Pieces of padded blocks: (blocks, real tokens of each)."""
    assert blocks.lengths_B is not None
    step = max(1, tokens // blocks.ids_BxT.shape[1])
    for first in range(0, max(1, len(blocks.ids_BxT)), step):
        yield blocks.ids_BxT[first : first + step], blocks.lengths_B[first : first + step]


def _count_blocks(vocab_size: int, piece: tuple[Ids, Ids]) -> BigramCounts:
    return count_blocks(*piece, vocab_size)


def teacher_table(
    teacher: TeacherConfig, parts: Sequence[TokenBlocks], tokenizer: TextTokenizer, cache: Path, counter: Counter
) -> BigramTable:
    """The teacher's table, counted on the parts' rows; from the cache or made now."""
    shaping = [TABLE_FORMAT, [part.fingerprint for part in parts], *teacher.table_settings]
    folder = cache / "tables" / fingerprint(shaping)

    def build(into: Path) -> Manifest:
        material = Material(
            counts=lambda: counter(parts),
            vocab_size=tokenizer.vocab_size,
            tokenizer_fingerprint=tokenizer.fingerprint,
            rows=teacher.rows,
            smoothing=teacher.smoothing,
            strength=teacher.smoothing_strength,
            min_count=teacher.min_count,
        )
        make = KINDS[teacher.kind]
        assert make is not None, f"a {teacher.kind} teacher has no table"
        save_table(make(material), into / TABLE_FILE)
        return {"shaping": shaping}

    built_once(folder, build)
    return load_table(folder / TABLE_FILE, expect_tokenizer=tokenizer.fingerprint)


def teacher_loss(table: BigramTable, blocks: TokenBlocks) -> float | None:
    """The teacher's own loss on validation blocks, nats per token; None where it gives a target no chance."""
    ids_BxT = blocks.ids_BxT
    prev_BxT, next_BxT = ids_BxT[:, :-1], ids_BxT[:, 1:]
    if blocks.lengths_B is not None:
        real_BxT = np.arange(1, ids_BxT.shape[1]) < blocks.lengths_B[:, None]
        prev_BxT, next_BxT = prev_BxT[real_BxT], next_BxT[real_BxT]
    loss = cross_entropy(table, prev_BxT.ravel(), next_BxT.ravel())
    return loss if np.isfinite(loss) else None
