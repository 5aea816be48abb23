"""The teacher's table of a run: rows -> counts -> table, each part of the rows counted once for all folds and arms.

Counts add (trainable/counts.py): the table of a fold is made from the sum of the counts of the other folds' rows, and
no row is counted again for the next fold, smoothing, or arm. Tables are cached under a fingerprint of what shapes them.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from trainable.bigram import BigramTable, cross_entropy, shuffled
from trainable.bigram_file import load_table, save_table
from trainable.cache import Manifest, built_once
from trainable.config import TeacherConfig
from trainable.counts import BigramCounts, add_all, count_blocks, count_stream
from trainable.files import fingerprint
from trainable.smoothing import estimate, uniform, unigram
from trainable.tokenizer import TextTokenizer
from trainable.tokens import TokenBlocks

TABLE_FORMAT = 3  # raise when the same settings give another table
TABLE_FILE = "table.bigram"
SHUFFLE_SEED = 0


class Counter:
    """Counts of parts of the rows, each counted when it is first asked for and kept for the next."""

    def __init__(self) -> None:
        self._counts: dict[str, BigramCounts] = {}  # by fingerprint of the part

    def __call__(self, parts: Sequence[TokenBlocks]) -> BigramCounts:
        """All bigrams of the parts' text, none across two parts' rows; padding is not counted."""
        for part in parts:
            if part.fingerprint not in self._counts:
                self._counts[part.fingerprint] = count(part)
        return add_all((self._counts[part.fingerprint] for part in parts), parts[0].vocab_size)


def count(blocks: TokenBlocks) -> BigramCounts:
    """All bigrams of the blocks' text; padding is not counted."""
    if blocks.lengths_B is not None:
        return count_blocks(blocks.ids_BxT, blocks.lengths_B, blocks.vocab_size)
    return count_stream(
        blocks.stream_N, blocks.vocab_size, first_context=blocks.eos_id, threads=min(4, os.cpu_count() or 1)
    )


def teacher_table(
    teacher: TeacherConfig, parts: Sequence[TokenBlocks], tokenizer: TextTokenizer, cache: Path, counter: Counter
) -> BigramTable:
    """The table of the parts' rows under the teacher's smoothing, from the cache or made now."""
    shaping = [
        TABLE_FORMAT,
        [part.fingerprint for part in parts],
        teacher.kind,
        teacher.smoothing,
        teacher.smoothing_strength,
        teacher.rows,
    ]
    folder = cache / "tables" / fingerprint(shaping)

    def build(into: Path) -> Manifest:
        table = make_table(teacher, lambda: counter(parts), tokenizer)
        save_table(table, into / TABLE_FILE)
        return {"shaping": shaping}

    built_once(folder, build)
    return load_table(folder / TABLE_FILE, expect_tokenizer=tokenizer.fingerprint)


def make_table(teacher: TeacherConfig, counts: Callable[[], BigramCounts], tokenizer: TextTokenizer) -> BigramTable:
    """The teacher of the kind asked for; a uniform one counts nothing."""
    known = {"tokenizer_fingerprint": tokenizer.fingerprint}
    if teacher.kind == "uniform":
        return uniform(tokenizer.vocab_size, **known)
    if teacher.kind == "unigram":
        return unigram(counts(), rows=teacher.rows, **known)
    table = estimate(counts(), teacher.smoothing, teacher.smoothing_strength, rows=teacher.rows, **known)
    return shuffled(table, SHUFFLE_SEED) if teacher.kind == "shuffled" else table


def teacher_loss(table: BigramTable, blocks: TokenBlocks) -> float | None:
    """What the teacher itself scores on validation blocks, nats per token; None where it gives a target no chance."""
    ids_BxT = blocks.ids_BxT
    prev_BxT, next_BxT = ids_BxT[:, :-1], ids_BxT[:, 1:]
    if blocks.lengths_B is not None:
        real_BxT = np.arange(1, ids_BxT.shape[1]) < blocks.lengths_B[:, None]
        prev_BxT, next_BxT = prev_BxT[real_BxT], next_BxT[real_BxT]
    loss = cross_entropy(table, prev_BxT.ravel(), next_BxT.ravel())
    return loss if np.isfinite(loss) else None
