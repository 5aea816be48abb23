"""Rows from shards, where they lie in the order of the file, into the order of their use, in bounded memory.

An external sort. Within a shard the rows stand in the order of their use, so what a shard has of any stretch of that
order is one piece of its file. A stretch of some GATHER_TOKENS is read from all shards, put in order, and written.

Shapes: R row numbers of a shard, G groups of rows in the order of their use, P bounds of stretches, n tokens.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainable.text.shards import Arrays

TOKENS_FILE, LENGTHS_FILE, PLACES_FILE = "tokens.bin", "row_lengths.bin", "places.bin"
LENGTH = np.dtype("<u4")
GATHER_TOKENS, STRETCHES = 1 << 20, 2048  # moved at once, some 20 bytes each; or more, for reads are shards x stretches
GROUP_ROWS = 16  # a stretch ends between two groups

Ints = NDArray[np.int64]


class _Cuts(NamedTuple):
    """Where each stretch begins in a shard."""

    folder: Path
    row_P: Ints
    token_P: Ints


def sort_rows(texts: Any, places_R: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
    """The rows of a shard, an Arrow array, and where each stands among all rows, in the order of their use."""
    order_R = np.argsort(places_R)
    return texts.take(order_R), places_R[order_R]


def shard_arrays(ids_n: NDArray[Any], lengths_R: NDArray[np.uint32]) -> Arrays:
    """What of a shard's tokens is kept, beside the places of its rows in PLACES_FILE."""
    return {TOKENS_FILE: ids_n, LENGTHS_FILE: lengths_R.astype(LENGTH, copy=False)}


def gather(
    shards: Sequence[Path], rows: int, id_dtype: np.dtype[Any], place_dtype: np.dtype[Any], path: Path
) -> tuple[int, int]:
    """Write the tokens of all rows of the shards to `path` in the order of their use: (tokens, empty rows)."""
    token_G = np.zeros(-(-rows // GROUP_ROWS), np.int64)
    empty_rows = 0
    for shard in shards:
        places_R, lengths_R = _read(shard / PLACES_FILE, place_dtype), _read(shard / LENGTHS_FILE, LENGTH)
        np.add.at(token_G, places_R // GROUP_ROWS, lengths_R)
        empty_rows += int((lengths_R == 0).sum())
    bound_P = _bounds(token_G, rows)
    cuts = [_cuts(shard, bound_P, place_dtype) for shard in shards]
    with open(path, "wb") as stream:
        for stretch in pairwise(range(len(bound_P))):
            stream.write(_stretch(cuts, stretch, id_dtype, place_dtype).data)
    return int(token_G.sum()), empty_rows


def _bounds(token_G: Ints, rows: int) -> Ints:
    """The first row of each stretch, and the end of all."""
    end_G = np.cumsum(token_G)
    total = int(token_G.sum())
    step = max(GATHER_TOKENS, total // STRETCHES)
    groups = np.searchsorted(end_G, np.arange(step, total + step, step)) + 1
    return np.unique(np.minimum([0, *groups * GROUP_ROWS], rows))


def _cuts(shard: Path, bound_P: Ints, place_dtype: np.dtype[Any]) -> _Cuts:
    end_R1 = np.append(0, np.cumsum(_read(shard / LENGTHS_FILE, LENGTH), dtype=np.int64))
    row_P = np.searchsorted(_read(shard / PLACES_FILE, place_dtype), bound_P)
    return _Cuts(shard, row_P, end_R1[row_P])


def _stretch(
    cuts: Sequence[_Cuts], stretch: tuple[int, int], id_dtype: np.dtype[Any], place_dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The tokens of one stretch, in order."""
    places, lengths, ids = [], [], []
    for folder, row_P, token_P in cuts:
        rows = [int(row_P[i]) for i in stretch]
        places.append(_read(folder / PLACES_FILE, place_dtype, *rows))
        lengths.append(_read(folder / LENGTHS_FILE, LENGTH, *rows))
        ids.append(_read(folder / TOKENS_FILE, id_dtype, *(int(token_P[i]) for i in stretch)))
    order_R = np.argsort(np.concatenate(places))
    length_R = np.concatenate(lengths).astype(np.int64)
    start_R = np.cumsum(length_R) - length_R
    return np.concatenate(ids)[_indices(start_R[order_R], length_R[order_R])]


def _indices(start_R: Ints, length_R: Ints) -> Ints:
    """start, start + 1, ... of each row, one row after the other."""
    end_R = np.cumsum(length_R)
    indices: Ints = np.repeat(start_R - (end_R - length_R), length_R)
    indices += np.arange(len(indices))
    return indices


def _read(path: Path, dtype: np.dtype[Any], first: int = 0, last: int | None = None) -> NDArray[Any]:
    """Items first to last of a file, or all. Read, not mapped: mapped pages would count as this process's memory."""
    count = -1 if last is None else last - first
    return np.fromfile(path, dtype, count, offset=first * dtype.itemsize)
