"""Tokenised rows of shards, which follow the file, written end to end in the order of their use, in bounded memory.

An external sort. A row's position is its place in the order of use. Within a shard the rows are sorted by position, so
what a shard has of any stretch of positions is one piece of its file. A stretch of some GATHER_TOKENS is read from all
shards, put in order, and written.

Shapes: R rows of a shard, G groups of GROUP_ROWS positions, P bounds of stretches, n tokens.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainable.text.shards import Arrays

TOKENS_FILE, ROW_LENGTHS_FILE, POSITIONS_FILE = "tokens.bin", "row_lengths.bin", "positions.bin"  # of a shard
ROW_LENGTH = np.dtype("<u4")
GATHER_TOKENS = 1 << 20  # of a stretch: some 20 bytes of memory for each
STRETCHES = 2048  # at most; a stretch is longer where there would be more, for reads are shards x stretches
GROUP_ROWS = 16  # a stretch ends between two groups

Ints = NDArray[np.int64]


class _Bounds(NamedTuple):
    """The first row and token of each stretch in one shard, and their ends."""

    folder: Path
    row_P: Ints
    token_P: Ints


def sort_rows(texts: Any, position_R: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
    """The rows of a shard (an Arrow array) and their positions, sorted by position."""
    order_R = np.argsort(position_R)
    return texts.take(order_R), position_R[order_R]


def shard_arrays(ids_n: NDArray[Any], length_R: NDArray[np.uint32]) -> Arrays:
    """What is kept of a shard's tokens, beside the positions of its rows in POSITIONS_FILE."""
    return {TOKENS_FILE: ids_n, ROW_LENGTHS_FILE: length_R.astype(ROW_LENGTH, copy=False)}


def gather(
    shards: Sequence[Path], rows: int, id_dtype: np.dtype[Any], position_dtype: np.dtype[Any], path: Path
) -> int:
    """Write the tokens of all rows of the shards to `path`, by position: how many there are."""
    # 1 count the tokens of each group of positions, over all shards
    token_G = np.zeros(-(-rows // GROUP_ROWS), np.int64)
    for shard in shards:
        position_R, length_R = (
            _read(shard / POSITIONS_FILE, position_dtype),
            _read(shard / ROW_LENGTHS_FILE, ROW_LENGTH),
        )
        np.add.at(token_G, position_R // GROUP_ROWS, length_R)
    # 2 bound the stretches: the group in which each GATHER_TOKENS tokens are full is a stretch's last
    tokens = int(token_G.sum())
    step = max(GATHER_TOKENS, tokens // STRETCHES)
    groups = np.searchsorted(np.cumsum(token_G), np.arange(step, tokens + step, step)) + 1
    position_P = np.unique(np.minimum([0, *groups * GROUP_ROWS], rows))
    # 3 find the stretches in each shard, then write one after the other
    bounds = [_bounds(shard, position_P, position_dtype) for shard in shards]
    with open(path, "wb") as stream:
        for stretch in pairwise(range(len(position_P))):
            stream.write(_stretch(bounds, stretch, id_dtype, position_dtype).data)
    return tokens


def _bounds(shard: Path, position_P: Ints, position_dtype: np.dtype[Any]) -> _Bounds:
    end_R1 = np.append(0, np.cumsum(_read(shard / ROW_LENGTHS_FILE, ROW_LENGTH), dtype=np.int64))
    row_P = np.searchsorted(_read(shard / POSITIONS_FILE, position_dtype), position_P)
    return _Bounds(shard, row_P, end_R1[row_P])


def _stretch(
    bounds: Sequence[_Bounds], stretch: tuple[int, int], id_dtype: np.dtype[Any], position_dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The tokens of one stretch, by position."""
    # 1 read what each shard has of it, one shard after the other
    positions, lengths, ids = [], [], []
    for folder, row_P, token_P in bounds:
        rows = [int(row_P[i]) for i in stretch]
        positions.append(_read(folder / POSITIONS_FILE, position_dtype, *rows))
        lengths.append(_read(folder / ROW_LENGTHS_FILE, ROW_LENGTH, *rows))
        ids.append(_read(folder / TOKENS_FILE, id_dtype, *(int(token_P[i]) for i in stretch)))
    ids_n, length_R = np.concatenate(ids), np.concatenate(lengths).astype(np.int64)
    # 2 sort the rows by position
    start_R = np.cumsum(length_R) - length_R
    order_R = np.argsort(np.concatenate(positions))
    start_R, length_R = start_R[order_R], length_R[order_R]
    # 3 index the tokens: start, start + 1, ... of each row, one row after the other
    shift_R = start_R - (np.cumsum(length_R) - length_R)
    index_n: Ints = np.repeat(shift_R, length_R)
    index_n += np.arange(len(index_n))
    stretch_n: NDArray[Any] = ids_n[index_n]
    return stretch_n


def _read(path: Path, dtype: np.dtype[Any], first: int = 0, last: int | None = None) -> NDArray[Any]:
    """Items first to last of a file, or all. Read, not mapped: mapped pages would count as this process's memory."""
    count = -1 if last is None else last - first
    return np.fromfile(path, dtype, count, offset=first * dtype.itemsize)
