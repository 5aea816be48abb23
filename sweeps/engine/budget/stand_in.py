"""Stand-in data of a run, of the same size and density, to measure steps on before any text is prepared.

Token ids are drawn independently with the frequencies of Zipf and Mandelbrot. A stream of independent tokens has more
distinct bigrams than text of the same length, so it is drawn at a fifth of the length (SHARE). Measured:

- a step of 4,096 tokens, vocabulary 8,192, reads 1,444 contexts with 0.19 M bigrams (text: 1,377 with 0.26 M);
- a step of 32,768 tokens, vocabulary 32,000, reads 7,753 contexts with 1.7 M bigrams (text: 5,850 with 1.6 M).

    V vocabulary   N tokens
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.teacher.answers import Answers
from trainable.teacher.build import material_of
from trainable.teacher.counts import BigramCounts, count_bigrams
from trainable.teacher.kinds import teacher_class
from trainable.teacher.ngram_counts import count_ngrams
from trainable.teacher.settings import TeacherConfig
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import BigramTable, column_dtype
from trainable.teacher.teacher import RowTeacher, Table
from trainable.text.blocks import TokenBlocks
from trainable.text.packing import id_dtype
from trainable.text.workers import own_cores

EXPONENT, OFFSET = 1.1, 5  # frequency of rank r: 1 / (r + OFFSET) ** EXPONENT
SHARE = 0.2  # length of the drawn stream, as a share of the text's
LONGEST = 1 << 23  # most tokens that are drawn; takes half a second


def drawn_tokens(vocab_size: int, tokens: int, seed: int = 0) -> NDArray[Any]:
    """Token ids, [N], with frequencies like those of text, in random order."""
    bounds_V = np.cumsum(1 / (np.arange(vocab_size) + OFFSET) ** EXPONENT)
    drawn_N = np.random.default_rng(seed).random(tokens, dtype=np.float32) * np.float32(bounds_V[-1])
    ids_N = np.searchsorted(bounds_V.astype(np.float32), drawn_N, side="right")
    return np.minimum(ids_N, vocab_size - 1).astype(id_dtype(vocab_size))


def drawn_text(vocab_size: int, text_tokens: int) -> NDArray[Any]:
    """Stream with about as many n-grams, in table rows of about the same length, as a text of `text_tokens` tokens."""
    return drawn_tokens(vocab_size, min(LONGEST, max(vocab_size, int(SHARE * text_tokens))))


def stand_in_blocks(vocab_size: int, context: int, blocks: int, seed: int) -> TokenBlocks:
    """Packed blocks of drawn tokens."""
    stream_N = drawn_tokens(vocab_size, blocks * context, seed)
    return TokenBlocks(
        ids_BxT=stream_N.reshape(blocks, context),
        stream_N=stream_N,
        lengths_B=None,
        eos_id=0,
        pad_id=None,
        vocab_size=vocab_size,
        rows=blocks,
        empty_rows=0,
        fingerprint="stand-in",
        checksum="stand-in",
        path=Path("stand-in"),
    )


def drawn_answers(blocks: TokenBlocks, top_k: int, parent: BigramTable) -> Answers:
    """Stand-in for a model's answers to these blocks: `top_k` tokens at each position, with equal probabilities."""
    shape = (*blocks.ids_BxT[:, 1:].shape, min(top_k, blocks.vocab_size))
    first = drawn_tokens(blocks.vocab_size, int(np.prod(shape[:2])), seed=3).reshape(*shape[:2], 1).astype(np.int64)
    ids_BxTxk = (first + np.arange(shape[2])) % blocks.vocab_size
    return Answers(
        ids_BxTxk=ids_BxTxk.astype(column_dtype(blocks.vocab_size)),
        p_BxTxk=np.full(shape, 0.8 / shape[2], np.float16),
        parent=parent,
        vocab_size=blocks.vocab_size,
        model="stand-in",
        tokenizer_fingerprint="stand-in",
        blocks_fingerprint=blocks.fingerprint,
        counted_tokens=0,
    )


def stand_in_table(teacher: TeacherConfig, text_N: NDArray[Any], blocks: TokenBlocks) -> Table | None:
    """Table of a teacher with these settings, from drawn text or for these blocks; None if it has no table."""
    kind = teacher_class(teacher.kind)
    if not issubclass(kind, RowTeacher):
        return None
    vocab_size, threads = blocks.vocab_size, min(4, own_cores())  # as teacher/build.py counts

    def counts() -> BigramCounts:
        return count_bigrams(text_N, vocab_size, first_context=0, threads=threads)

    def answers() -> Answers:
        parent = estimate_table(counts(), "witten_bell", tokenizer_fingerprint="stand-in")
        return drawn_answers(blocks, teacher.model.top_k, parent)

    return kind.prepare(
        material_of(
            teacher,
            vocab_size=vocab_size,
            tokenizer_fingerprint="stand-in",
            counts=counts,
            ngrams=lambda order: count_ngrams(text_N, vocab_size, order, eos_id=vocab_size - 1, threads=threads),
            answers=answers,
        )
    )
