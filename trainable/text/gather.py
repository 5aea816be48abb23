"""Write the tokenised rows of shards in the order of their use, not that of the file: an external merge sort.

A row's position is its place in the order of use. A stretch is a range of positions. Within a shard the rows are sorted
by position, so the rows that a shard has in a stretch are one piece of its file.
- A merge reads one stretch after the other from all its inputs, sorts its rows by position, and writes them.
- A stretch is so long that its pieces have PIECE_TOKENS tokens on average, however many inputs there are.
- If there are more than FAN_IN shards, neighbours are first merged into runs, which are larger shards. A whole run is
  kept, so that a gathering can go on after a kill.
So each token is read and written once a level, in pieces that do not become smaller as the corpus grows. Memory is that
of one stretch, at most FAN_IN x PIECE_TOKENS tokens; five files are open at once.

By arithmetic, not measured: 10^12 tokens are 1.1 M shards of 4 MiB of text (4.6 bytes a token).
- One level of 2,048 stretches: 2.2 * 10^9 pieces of 440 tokens or 1.8 KB. At 30 us to open, seek and read each of three
  files, this takes 56 h.
- Two levels of 1,048 inputs each: 2 x 31 M pieces of 32,768 tokens or 128 KiB. At 30 us this takes 0.5 h, beside 8 TB
  that are read and 8 TB that are written in order; memory is 34 M tokens.
Two levels are enough for 4 M shards, 4 * 10^12 tokens.

Shapes: S shards, R rows of a stretch, r rows of one input in a stretch, G groups of positions, n tokens.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainable.record.cache import Manifest, build_folder, whole

STREAM_FILE = "tokens.bin"
LENGTHS_FILE, LENGTH = "row_lengths.bin", np.dtype("<u4")  # tokens of each row
FLAGS_FILE, FLAG = "row_flags.bin", np.dtype("u1")  # flags of each row, as packing.py sets them
POSITIONS_FILE = "positions.bin"
FAN_IN = 1 << 11  # inputs of a merge, at most
PIECE_TOKENS = 1 << 15  # tokens of one input in a stretch, on average
STRETCH_TOKENS = 1 << 20  # tokens of a stretch, at least: with few inputs, pieces are longer
ROW_TOKENS = 16  # a row's position, length and order take the memory of so many tokens, and count as these in a stretch
GROUP_ROWS, GROUPS = 16, 1 << 20  # a stretch ends with a group of GROUP_ROWS positions; of more, if over GROUPS groups
READ_ROWS = 1 << 11  # rows of an input whose positions, lengths and flags are read at once
SLICE_TOKENS = 1 << 18  # tokens put in order at once: some 20 bytes of memory for each

Ints = NDArray[np.int64]


class Dtypes(NamedTuple):
    """Dtypes in which tokens and positions are stored."""

    token: np.dtype[Any]
    position: np.dtype[Any]


class _Rows(NamedTuple):
    """Some rows, without their tokens."""

    position_r: NDArray[Any]
    length_r: NDArray[Any]
    flag_r: NDArray[Any]


def gather(shards: Sequence[Path], spans: Sequence[range], dtypes: Dtypes, folders: Sequence[Path]) -> None:
    """Write tokens, lengths and flags of the shards' rows, sorted by position; each span has its own folder.

    spans: ranges that cover all positions, in order.
    """
    level = 0
    while len(shards) > FAN_IN:
        level += 1
        size = _group_size(len(shards))
        groups = (shards[first : first + size] for first in range(0, len(shards), size))
        shards = [_run(group, level, spans[-1].stop, dtypes) for group in groups]
    _merge(shards, spans, dtypes, folders, (STREAM_FILE, LENGTHS_FILE, FLAGS_FILE))


def levels(shards: float) -> int:
    """Number of levels of merging that so many shards need: each token is read and written once a level."""
    found, reached = 1, FAN_IN
    while reached < shards:
        found, reached = found + 1, reached * FAN_IN
    return found


def read_part(path: Path, dtype: np.dtype[Any], first: int, count: int) -> NDArray[Any]:
    """Read some items of a file. Not mapped: mapped pages would count as this process's memory."""
    return np.fromfile(path, dtype, count, offset=first * dtype.itemsize)


def _group_size(shards: int) -> int:
    """Number of shards in a run, such that the merges of all levels have about as many inputs."""
    size: int = math.ceil(round(shards ** (1 / levels(shards)), 6))
    return min(FAN_IN, size)


def _run(group: Sequence[Path], level: int, rows: int, dtypes: Dtypes) -> Path:
    """Return the folder of a run of neighbouring shards, which was kept from an earlier attempt or is made now."""
    if len(group) == 1:
        return group[0]
    first, last = (shard.name.partition(".")[0].split("-")[end] for shard, end in ((group[0], 0), (group[-1], 1)))
    folder = group[0].with_name(f"{first}-{last}.{level}")  # named by the rows it covers, as shards are

    def fill(into: Path) -> Manifest:
        names = (STREAM_FILE, LENGTHS_FILE, FLAGS_FILE, POSITIONS_FILE)
        _merge(group, [range(rows)], dtypes, [into], names)
        return {}

    if whole(folder) is None:
        build_folder(folder, fill)
    return folder


def _merge(
    inputs: Sequence[Path], spans: Sequence[range], dtypes: Dtypes, folders: Sequence[Path], names: Sequence[str]
) -> None:
    """Merge the inputs: write the files `names` into the folder of each span."""
    ends = _stretch_ends(inputs, spans, dtypes)
    readers = [_Reader(folder, dtypes) for folder in inputs]
    for span, folder in zip(spans, folders, strict=True):
        folder.mkdir(exist_ok=True)
        with ExitStack() as stack:
            files = [stack.enter_context(open(folder / name, "wb")) for name in names]
            for end in ends[(span.start < ends) & (ends <= span.stop)].tolist():
                ordered = _stretch(readers, end, dtypes.token)
                for ids_n in ordered.tokens:
                    files[0].write(ids_n.data)
                for file, array_R in zip(files[1:], ordered.arrays, strict=False):
                    file.write(array_R.data)


def _stretch_ends(inputs: Sequence[Path], spans: Sequence[range], dtypes: Dtypes) -> Ints:
    """Position after each stretch; where a span ends, a stretch ends too."""
    # 1 weigh the rows of each group of positions, over all inputs
    rows = spans[-1].stop
    group_rows = max(GROUP_ROWS, -(-rows // GROUPS))
    weight_G = np.zeros(-(-rows // group_rows), np.int64)
    for folder in inputs:
        for first in range(0, _items(folder / LENGTHS_FILE, LENGTH), chunk := READ_ROWS * GROUP_ROWS):
            position_r = read_part(folder / POSITIONS_FILE, dtypes.position, first, chunk)
            length_r = read_part(folder / LENGTHS_FILE, LENGTH, first, chunk)
            np.add.at(weight_G, position_r // group_rows, length_r + np.int64(ROW_TOKENS))
    # 2 a stretch ends with the group that makes it full
    total_G = np.cumsum(weight_G)
    step = max(STRETCH_TOKENS, len(inputs) * PIECE_TOKENS)
    full = np.searchsorted(total_G, np.arange(step, int(weight_G.sum()), step)) + 1
    return np.unique(np.minimum([*(full * group_rows), *(span.stop for span in spans)], rows))


class _Reader:
    """One input of a merge, read once from its beginning to its end."""

    def __init__(self, folder: Path, dtypes: Dtypes) -> None:
        self._folder, self._dtype = folder, dtypes.token
        self._files = {POSITIONS_FILE: dtypes.position, LENGTHS_FILE: LENGTH, FLAGS_FILE: FLAG}
        self._rows, self._row, self._token = _items(folder / LENGTHS_FILE, LENGTH), 0, 0
        self._waiting = _Rows(*(np.zeros(0, dtype) for dtype in self._files.values()))  # rows read but not returned yet

    def rows_before(self, end: int) -> _Rows:
        """Return the next rows, as far as their position is before `end`."""
        found = [self._waiting]
        while self._row < self._rows and (not len(found[-1].position_r) or found[-1].position_r[-1] < end):
            read = (read_part(self._folder / file, dtype, self._row, READ_ROWS) for file, dtype in self._files.items())
            found.append(_Rows(*read))
            self._row += len(found[-1].length_r)
        arrays = [np.concatenate(parts) for parts in zip(*found, strict=True)]
        count = int(np.searchsorted(arrays[0], end))
        self._waiting = _Rows(*(array[count:] for array in arrays))
        return _Rows(*(array[:count] for array in arrays))

    def read_tokens(self, into_n: NDArray[Any]) -> None:
        """Fill `into_n` with the next tokens."""
        into_n[:] = read_part(self._folder / STREAM_FILE, self._dtype, self._token, len(into_n))
        self._token += len(into_n)


class _Ordered(NamedTuple):
    """A stretch, its rows sorted by position."""

    tokens: Iterator[NDArray[Any]]  # of the rows, in slices
    arrays: tuple[NDArray[Any], ...]  # of the rows: lengths, flags, positions


def _stretch(readers: Sequence[_Reader], end: int, dtype: np.dtype[Any]) -> _Ordered:
    """Read the next stretch, up to the position `end`, from all inputs, and sort its rows by position."""
    # 1 read the rows that each input has in the stretch, one input after the other
    found = [reader.rows_before(end) for reader in readers]
    count_S = [int(rows.length_r.sum(dtype=np.int64)) for rows in found]
    ids_n = np.empty(sum(count_S), dtype)
    bounds = np.cumsum([0, *count_S]).tolist()
    for reader, (first, last) in zip(readers, pairwise(bounds), strict=True):
        if last > first:
            reader.read_tokens(ids_n[first:last])
    position_R, length_R, flag_R = (np.concatenate(parts) for parts in zip(*found, strict=True))
    # 2 sort the rows by position
    order_R = np.argsort(position_R)
    start_R = (np.cumsum(length_R, dtype=np.int64) - length_R)[order_R]
    length_R = length_R[order_R]
    return _Ordered(_in_order(ids_n, start_R, length_R), (length_R, flag_R[order_R], position_R[order_R]))


def _in_order(ids_n: NDArray[Any], start_R: Ints, length_R: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the tokens row after row, in slices of some SLICE_TOKENS or of one longer row."""
    end_R = np.cumsum(length_R, dtype=np.int64)
    full = np.searchsorted(end_R, np.arange(SLICE_TOKENS, len(ids_n), SLICE_TOKENS)) + 1
    long = np.flatnonzero(length_R > SLICE_TOKENS)
    for first, last in pairwise(np.unique([0, *full, *long, len(length_R)]).tolist()):
        if last - first == 1:
            yield ids_n[start_R[first] : start_R[first] + int(length_R[first])]
            continue
        # start, start + 1, ... of each row, one row after the other
        length_r = length_R[first:last].astype(np.int64)
        index_n: Ints = np.repeat(start_R[first:last] - (np.cumsum(length_r) - length_r), length_r)
        index_n += np.arange(len(index_n))
        yield ids_n[index_n]


def _items(path: Path, dtype: np.dtype[Any]) -> int:
    return path.stat().st_size // dtype.itemsize
