"""Tokenise rows and join their tokens end to end, in bounded memory.

Rows are used in a shuffled order but can only be read fast in the order of the file. So they are tokenised in the order
of the file, in shards (text/shards.py), and the tokens, not the text, are then gathered into the shuffled order
(text/gather.py). A shard is tokenised in portions, each in a thread of its own (tokenizer/encode.py).

A row's position is its place in the order of use, which is the order of the given row ids.

Shapes: R rows (r of them in a portion, b in a batch of the corpus), n tokens, B blocks, T tokens in a block.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trainable.record.files import join_files
from trainable.text.corpus import Corpus
from trainable.text.gather import FLAG, FLAGS_FILE, LENGTHS_FILE, POSITIONS_FILE, STREAM_FILE, Dtypes, gather, levels
from trainable.text.shards import Arrays, Shard, ShardMaker
from trainable.text.sources.rows import TEXT
from trainable.text.split import RowIds, row_id_dtype
from trainable.text.tokenizer.encode import Encoded, checked_ids, each_in_a_thread, encode_rows, encodings
from trainable.text.tokenizer.tokenizer import TextTokenizer

BLOCK_LENGTHS_FILE = "lengths.bin"  # number of real tokens of each padded block
BLOCK_LENGTH = np.dtype("<i4")
EMPTY, UNREAD, EOS = 1, 2, 4  # bits of FLAGS_FILE, one byte for each row
SHARD_BYTES, SHARD_ROWS = 1 << 22, 1 << 17  # text of a shard, at most: some seconds of work
ENCODE_BYTES = 1 << 17  # of text given to the tokenizer at once; it holds some 100 bytes of memory for each token
PUBLISHED_ROWS = 200  # rows joined into one string
PUBLISHED_BATCH = 8  # strings given to the tokenizer at once
COUNTED_ROWS = 1 << 20  # rows whose flags are counted at once


class RowCounts(NamedTuple):
    """Numbers of rows that have each flag: empty, unread, or with an eos in their own text."""

    empty_rows: int  # null or blank, and left out
    unread_rows: int  # with text that gives no token (left out too), or that is mostly unknown
    eos_rows: int  # with text that itself gives an eos


def id_dtype(vocab_size: int) -> np.dtype[Any]:
    """Narrowest little-endian dtype that holds every id."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def pack(
    corpus: Corpus,
    row_ids_R: RowIds,
    spans: Sequence[range],
    tokenizer: TextTokenizer,
    folders: Sequence[Path],
    maker: ShardMaker,
) -> None:
    """Write each row's tokens and an eos, in the order of `row_ids_R`; each span of positions has its own folder.

    spans: ranges that cover all positions, in order. A folder also gets the lengths and flags of its rows. A row
    without a token has no eos either.
    """
    dtypes = Dtypes(id_dtype(tokenizer.vocab_size), row_id_dtype(len(row_ids_R)))
    cut = _row_shards(corpus, row_ids_R, dtypes.position)
    shards = maker.make(cut, partial(tokenise, tokenizer), len(row_ids_R), levels)
    gather(shards, spans, dtypes, folders)


def pack_as_published(
    corpus: Corpus,
    row_ids_R: RowIds,
    spans: Sequence[range],
    tokenizer: TextTokenizer,
    folders: Sequence[Path],
    maker: ShardMaker,
    *,
    context: int,
) -> None:
    """Write each 200 rows of a span, joined to one string, as blocks, the last one padded. Holds the rows' text."""
    text_R = _texts_in_order(corpus, row_ids_R)
    blocks_of = partial(_padded_blocks, tokenizer, context, pad_id(tokenizer))
    for span, folder in zip(spans, folders, strict=True):
        shards = maker.make(_string_shards(text_R, span), blocks_of, len(span))
        folder.mkdir(exist_ok=True)
        for name in (STREAM_FILE, BLOCK_LENGTHS_FILE, FLAGS_FILE):
            join_files([shard / name for shard in shards], folder / name)


def pad_id(tokenizer: TextTokenizer) -> int:
    """Id that fills the last block of a published string: that of the pad token, or of eos if there is none."""
    return tokenizer.eos_id if tokenizer.pad_id is None else tokenizer.pad_id


def tokenise(tokenizer: TextTokenizer, texts: pa.Array) -> Arrays:
    """Tokenise a shard's rows: tokens end to end, an eos after each row; length (0: empty) and flags of each row."""
    dtype = id_dtype(tokenizer.vocab_size)
    # 1 tokenise the rows that hold text, in portions: tokens take far more memory than text
    full = pc.invert(_is_empty(texts))
    text_r = texts.filter(full)

    def encoded(span: tuple[int, int, int]) -> tuple[NDArray[Any], ...]:
        first, last, _ = span
        found = encode_rows(tokenizer, text_r.slice(first, last - first).to_pylist())
        return found.ids_n.astype(dtype), found.length_R, _flags(found)

    nothing = (np.zeros(0, dtype), np.zeros(0, np.uint32), np.zeros(0, FLAG))
    portions = [nothing, *each_in_a_thread(encoded, _spans(text_r, ENCODE_BYTES))]
    ids_n, length_r, flag_r = (np.concatenate(arrays) for arrays in zip(*portions, strict=True))
    # 2 spread lengths and flags over all rows
    full_R = full.to_numpy(zero_copy_only=False)
    length_R, flag_R = np.zeros(len(texts), np.uint32), np.full(len(texts), EMPTY, FLAG)
    length_R[full_R], flag_R[full_R] = length_r, flag_r
    return {STREAM_FILE: ids_n, LENGTHS_FILE: length_R, FLAGS_FILE: flag_R}


def _flags(encoded: Encoded) -> NDArray[np.uint8]:
    return (UNREAD * encoded.unread_R + EOS * encoded.eos_R).astype(FLAG)


def counted(path: Path) -> RowCounts:
    """Count the rows that have each of the flags in a file."""
    found = np.zeros(len(RowCounts._fields), np.int64)
    with open(path, "rb") as stream:
        while len(flag_r := np.fromfile(stream, FLAG, COUNTED_ROWS)):
            found += [np.count_nonzero(flag_r & flag) for flag in (EMPTY, UNREAD, EOS)]
    return RowCounts(*found.tolist())


def _row_shards(corpus: Corpus, row_ids_R: RowIds, position_dtype: np.dtype[Any]) -> Iterator[Shard]:
    """Yield shards of rows in the order of the file: at most SHARD_ROWS and SHARD_BYTES of text, or one longer row."""
    positions: list[NDArray[Any]] = []
    texts: list[pa.Array] = []
    first = rows = size = 0

    def shard() -> Shard:
        """Build the open shard, its rows sorted by position, as gather.py needs them."""
        position_R = np.concatenate(positions).astype(position_dtype)
        order_R = np.argsort(position_R)
        text_R = pa.concat_arrays(texts).take(order_R)
        return Shard(f"{first:012d}-{first + rows:012d}", rows, text_R, {POSITIONS_FILE: position_R[order_R]})

    for position_b, batch in corpus.take(row_ids_R):
        for low, high, length in _spans(batch, SHARD_BYTES):
            # 1 close the shard that these rows would make too large
            if rows and (rows + high - low > SHARD_ROWS or size + length > SHARD_BYTES):
                yield shard()
                positions, texts, first, rows, size = [], [], first + rows, 0, 0
                pa.default_memory_pool().release_unused()  # else the pool grows with each shard
            # 2 add them to the open one
            positions.append(position_b[low:high])
            texts.append(batch.slice(low, high - low))
            rows, size = rows + high - low, size + length
    if rows:
        yield shard()


def _string_shards(text_R: pa.Array, span: range) -> Iterator[Shard]:
    """Yield shards of some SHARD_BYTES of text: lists of the texts of 200 rows of a span, each to become one string."""
    strings: list[list[str | None]] = []
    first, size = span.start, 0
    for start in range(span.start, span.stop, PUBLISHED_ROWS):
        end = min(start + PUBLISHED_ROWS, span.stop)
        part = text_R.slice(start, end - start)
        strings.append(pc.if_else(_is_empty(part), None, part).to_pylist())
        size += sum(len(text or "") for text in strings[-1])
        if size > SHARD_BYTES or end == span.stop:
            yield Shard(f"{first:012d}-{end:012d}", end - first, strings, {})
            strings, first, size = [], end, 0


def _is_empty(texts: pa.Array) -> pa.Array:
    """Mask of the rows that are null, or only white space."""
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(texts), ""), True)


def _spans(texts: pa.Array, most_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Cut rows into runs of at most `most_bytes`, or one longer row; yield (first row, row after the last, bytes)."""
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths, dtype=np.int64)
    first = done = 0
    while first < len(texts):
        last = max(first + 1, int(np.searchsorted(ends, done + most_bytes, side="right")))
        yield first, last, int(ends[last - 1]) - done
        first, done = last, int(ends[last - 1])


def _texts_in_order(corpus: Corpus, row_ids_R: RowIds) -> pa.Array:
    parts = list(corpus.take(row_ids_R))
    if not parts:
        return pa.array([], TEXT)
    position_R = np.concatenate([position_b for position_b, _ in parts])
    text_R = pa.concat_arrays([text_b for _, text_b in parts])
    return text_R.take(pa.array(np.argsort(position_R)))


def _padded_blocks(tokenizer: TextTokenizer, context: int, pad_id: int, strings: list[list[str | None]]) -> Arrays:
    """Tokenise strings into padded blocks: blocks end to end, number of real tokens of each, flags of the rows."""
    dtype = id_dtype(tokenizer.vocab_size)
    full = [[text for text in texts if text is not None] for texts in strings]
    joined = ["".join(texts) for texts in full if texts]  # empty rows alone make no string

    def padded(first: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        found = encodings(tokenizer, joined[first : first + PUBLISHED_BATCH], special=True)
        made = [_padded(checked_ids(encoding.ids, tokenizer.vocab_size), context, pad_id) for encoding in found]
        return [(blocks_BxT.astype(dtype).ravel(), lengths_B) for blocks_BxT, lengths_B in made]

    nothing = (np.zeros(0, dtype), np.zeros(0, BLOCK_LENGTH))
    batches = each_in_a_thread(padded, range(0, len(joined), PUBLISHED_BATCH))
    blocks, lengths = zip(nothing, *chain.from_iterable(batches), strict=True)
    # a joined string hides which rows cannot be read, so rows are also tokenised by themselves
    flag_R = np.array([EMPTY if text is None else 0 for texts in strings for text in texts], FLAG)
    if tokenizer.may_misread:
        flags = each_in_a_thread(lambda texts: _flags(encode_rows(tokenizer, texts)), [some for some in full if some])
        flag_R[flag_R == 0] = np.concatenate([np.zeros(0, FLAG), *flags])
    return {STREAM_FILE: np.concatenate(blocks), BLOCK_LENGTHS_FILE: np.concatenate(lengths), FLAGS_FILE: flag_R}


def _padded(ids_n: NDArray[np.uint32], context: int, pad_id: int) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Cut one string's ids into blocks and pad the last; return (blocks, number of real tokens of each)."""
    blocks = -(-len(ids_n) // context)
    padded = np.full(blocks * context, pad_id, np.uint32)
    padded[: len(ids_n)] = ids_n
    lengths_B = np.full(blocks, context, BLOCK_LENGTH)
    lengths_B[-1:] = len(ids_n) - (blocks - 1) * context
    return padded.reshape(blocks, context), lengths_B
