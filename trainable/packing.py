"""Tokenise rows and lay their tokens end to end, in bounded memory.

Rows are used in a shuffled order but can only be read fast in the order of the file. So they are tokenised in the order
of the file into a spool of tokens, with the length of each row, and the tokens, not the text, are then gathered into
the shuffled order by numpy, a chunk at a time. The tokenizer uses all cores by itself (Rust threads): on 2 cores this
writes 55,000 sentences a second, 95 % of the bare tokenizer, where a process pool reaches 65,000.

Shapes: R row numbers, N tokens, B blocks, T tokens in a block.
"""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trainable.cache import ROOM_HINT
from trainable.config import require
from trainable.corpus import Corpus
from trainable.disk import require_room
from trainable.pieces import pieces
from trainable.progress import Advance
from trainable.rows import TEXT
from trainable.split import Rows
from trainable.tokenizer import TextTokenizer

STREAM_FILE, LENGTHS_FILE = "tokens.bin", "lengths.bin"
GATHER_TOKENS = 1 << 20  # moved at once: 8 MiB of indices
ENCODE_BYTES = 1 << 22  # of text given to the tokenizer at once, which holds some 100 bytes for each token
PIECE_CHARACTERS = 1 << 16  # of a row longer than ENCODE_BYTES: a word of millions of letters would take hours
PIECES_AT_ONCE = 16
PUBLISHED_ROWS = 200  # rows joined into one string
PUBLISHED_BATCHES = 64  # strings tokenised at once


class Packed(NamedTuple):
    """What was written into the folder: STREAM_FILE, and LENGTHS_FILE where there is padding."""

    tokens: int  # in STREAM_FILE
    dtype: np.dtype[Any]
    empty_rows: int
    pad_id: int | None


def id_dtype(vocab_size: int) -> np.dtype[Any]:
    """The narrowest little-endian type that holds every id."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def pack(corpus: Corpus, rows_R: Rows, tokenizer: TextTokenizer, folder: Path, advance: Advance) -> Packed:
    """Each row's tokens and an eos, in the order of `rows_R`; null and blank rows are left out."""
    spool = folder / "spool.bin"
    lengths_R = _spool(corpus, rows_R, tokenizer, spool, advance)
    tokens, dtype = int(lengths_R.sum(dtype=np.int64)), id_dtype(tokenizer.vocab_size)
    _gather(spool, dtype, lengths_R, rows_R, folder / STREAM_FILE)
    spool.unlink()
    return Packed(tokens, dtype, int((lengths_R == 0).sum()), None)


def pack_as_published(
    corpus: Corpus, rows_R: Rows, tokenizer: TextTokenizer, folder: Path, advance: Advance, *, context: int
) -> Packed:
    """Each 200 rows as one string, cut into blocks, the last of them padded. Holds the text of the rows in memory."""
    pad_id = tokenizer.eos_id if tokenizer.pad_id is None else tokenizer.pad_id
    dtype = id_dtype(tokenizer.vocab_size)
    text_R = _texts_in_order(corpus, rows_R)
    lengths: list[NDArray[np.int32]] = []
    with open(folder / STREAM_FILE, "wb") as stream:
        for strings in _joined_strings(text_R):
            for encoding in tokenizer.encoder.encode_batch_fast(strings, add_special_tokens=True):
                blocks_BxT, lengths_B = _padded(_checked(encoding.ids, tokenizer.vocab_size), context, pad_id)
                stream.write(blocks_BxT.astype(dtype).tobytes())
                lengths.append(lengths_B)
            advance(PUBLISHED_ROWS * len(strings))
    lengths_B = np.concatenate([np.zeros(0, np.int32), *lengths])
    (folder / LENGTHS_FILE).write_bytes(lengths_B.astype("<i4").tobytes())
    return Packed(len(lengths_B) * context, dtype, int(pc.sum(_is_empty(text_R)).as_py() or 0), pad_id)


def _spool(corpus: Corpus, rows_R: Rows, tokenizer: TextTokenizer, path: Path, advance: Advance) -> NDArray[np.uint32]:
    """Write the tokens of the rows in the order of the file; returns their number for each of `rows_R`, 0 if empty."""
    lengths_R = np.zeros(len(rows_R), np.uint32)
    dtype = id_dtype(tokenizer.vocab_size)
    checked = False
    with open(path, "wb") as stream:
        for where, texts in corpus.take(rows_R):
            full = pc.invert(_is_empty(texts))
            places = where[full.to_numpy(zero_copy_only=False)]
            for portion in _portions(texts.filter(full)):
                ids_n, lengths = _encode(tokenizer, portion)
                stream.write(ids_n.astype(dtype).tobytes())
                lengths_R[places[: len(lengths)]] = lengths
                places = places[len(lengths) :]
            stream.flush()
            advance(len(texts))
            if not checked:
                checked = True
                _require_room(path, len(texts) / len(rows_R))
    return lengths_R


def _require_room(spool: Path, share: float) -> None:
    """Judge by the first rows whether the spool and the stream, which lies beside it for a while, will fit."""
    written = spool.stat().st_size
    still = written / share * 2 - written
    require_room(spool.parent.parent, still, "the tokens of the rows", ROOM_HINT)


def _gather(spool: Path, dtype: np.dtype[Any], lengths_R: NDArray[np.uint32], rows_R: Rows, path: Path) -> None:
    """Copy the rows from the spool, where they lie in the order of the file, into the order of `rows_R`."""
    starts_R = _starts(lengths_R, rows_R)
    ends_R = np.cumsum(lengths_R, dtype=np.int64)
    with open(path, "wb") as stream:
        if not len(ends_R) or not ends_R[-1]:
            return
        spooled_N = np.memmap(spool, dtype, mode="r")
        cuts = np.searchsorted(ends_R, np.arange(GATHER_TOKENS, ends_R[-1] + GATHER_TOKENS, GATHER_TOKENS)) + 1
        for first, last in zip([0, *cuts], cuts, strict=False):
            stream.write(spooled_N[_indices(starts_R[first:last], lengths_R[first:last])].tobytes())


def _starts(lengths_R: NDArray[np.uint32], rows_R: Rows) -> NDArray[np.int64]:
    """Where each row begins in the spool."""
    order_R = np.argsort(rows_R, kind="stable")  # as in Corpus.take
    ends_R = np.cumsum(lengths_R[order_R], dtype=np.int64)
    starts_R = np.empty_like(ends_R)
    starts_R[order_R] = ends_R - lengths_R[order_R]
    return starts_R


def _indices(starts_R: NDArray[np.int64], lengths_R: NDArray[np.uint32]) -> NDArray[np.int64]:
    """start, start + 1, ... of each row, one row after the other."""
    lengths = lengths_R.astype(np.int64)
    ends = np.cumsum(lengths)
    total = int(lengths.sum())
    indices: NDArray[np.int64] = np.repeat(starts_R - (ends - lengths), lengths)
    indices += np.arange(total)
    return indices


def _encode(tokenizer: TextTokenizer, texts: list[str]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """(all ids with an eos after each row, tokens of each row)"""
    if len(texts) == 1 and len(texts[0].encode()) > ENCODE_BYTES:
        ids_n = _encode_long(tokenizer, texts[0])
        return ids_n, np.array([len(ids_n)], np.uint32)
    encodings = tokenizer.encoder.encode_batch_fast(texts, add_special_tokens=False)
    ids = [[*encoding.ids, tokenizer.eos_id] for encoding in encodings]
    lengths = np.fromiter(map(len, ids), np.uint32, len(ids))
    return _checked(chain.from_iterable(ids), tokenizer.vocab_size, int(lengths.sum())), lengths


def _encode_long(tokenizer: TextTokenizer, text: str) -> NDArray[np.uint32]:
    """The ids of one row of many megabytes, some pieces at a time, and an eos."""
    parts = [np.array([tokenizer.eos_id], np.uint32)]
    remaining = pieces(text, PIECE_CHARACTERS)
    while some := list(islice(remaining, PIECES_AT_ONCE)):
        encodings = tokenizer.encoder.encode_batch_fast(some, add_special_tokens=False)
        parts[-1:-1] = [_checked(encoding.ids, tokenizer.vocab_size) for encoding in encodings]
    return np.concatenate(parts)


def _checked(ids: Any, vocab_size: int, count: int = -1) -> NDArray[np.uint32]:
    """The ids as an array; one that is outside the vocabulary would wrap around in a narrower type."""
    ids_n = np.fromiter(ids, np.uint32, count)
    worst = int(ids_n.max(initial=0))
    require(
        worst < vocab_size,
        f"the tokenizer gave token id {worst} but has {vocab_size} tokens: check its tokenizer.json.",
    )
    return ids_n


def _is_empty(texts: pa.Array) -> pa.Array:
    """Null, or nothing but white space."""
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(texts), ""), True)


def _portions(texts: pa.Array) -> Iterator[list[str]]:
    """The texts in parts of at most ENCODE_BYTES, or one longer row: tokens take far more memory than text."""
    ends = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False), dtype=np.int64)
    first = 0
    while first < len(texts):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + ENCODE_BYTES, side="right")))
        yield texts.slice(first, last - first).to_pylist()
        first = last


def _texts_in_order(corpus: Corpus, rows_R: Rows) -> pa.Array:
    parts = list(corpus.take(rows_R))
    if not parts:
        return pa.array([], TEXT)
    places = np.concatenate([where for where, _ in parts])
    texts = pa.concat_arrays([texts for _, texts in parts])
    return texts.take(pa.array(np.argsort(places)))


def _joined_strings(text_R: pa.Array) -> Iterator[list[str]]:
    """Each 200 rows as one string, some of them at a time; a string of empty rows alone is left out."""
    step = PUBLISHED_ROWS * PUBLISHED_BATCHES
    for first in range(0, len(text_R), step):
        part = text_R.slice(first, step)
        rows = pc.if_else(_is_empty(part), "", part).to_pylist()
        strings = ("".join(rows[i : i + PUBLISHED_ROWS]) for i in range(0, len(rows), PUBLISHED_ROWS))
        yield [string for string in strings if string]


def _padded(ids_n: NDArray[np.uint32], context: int, pad_id: int) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """(blocks of one string, real tokens of each)"""
    blocks = -(-len(ids_n) // context)
    padded = np.full(blocks * context, pad_id, np.uint32)
    padded[: len(ids_n)] = ids_n
    lengths_B = np.full(blocks, context, np.int32)
    lengths_B[-1:] = len(ids_n) - (blocks - 1) * context
    return padded.reshape(blocks, context), lengths_B
