"""Any number of shards, made up while they are read, with counts of the reads of shards and runs."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trainable.text import gather

DTYPES = gather.Dtypes(np.dtype("<u2"), np.dtype("<i4"))
KINDS = 60_000  # different tokens


class MadeShards:
    """Rows with equal numbers of tokens, in an order that is independent of the order of the file."""

    def __init__(self, folder: Path, shards: int, rows: int = 16, tokens: int = 16) -> None:
        self.rows, self.tokens = rows, tokens
        order_N = np.random.default_rng(0).permutation(shards * rows).astype(DTYPES.position)
        self.position_SxR = np.sort(order_N.reshape(shards, rows), axis=1)
        self.paths = [folder / f"{rows * n:012d}-{rows * (n + 1):012d}" for n in range(shards)]
        self.reads: Counter[str] = Counter()  # by file; a read is an open, a seek and a read
        self.nbytes: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Rows of all shards."""
        return int(self.position_SxR.size)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Make the gathering read these shards, and the files that it writes."""
        patch.setattr(gather, "read_part", self._read)
        items, ours = gather._items, set(self.paths)
        patch.setattr(gather, "_items", lambda path, dtype: self.rows if path.parent in ours else items(path, dtype))

    def gathered(self, folder: Path) -> None:
        """Gather all rows into the folder, and count the reads."""
        self.reads.clear()
        self.nbytes.clear()
        gather.gather(self.paths, [range(self.total)], DTYPES, [folder])

    def is_right(self, folder: Path) -> bool:
        """Whether the tokens of each row follow those of the row before it in the order of use."""
        stream_N = np.memmap(folder / gather.STREAM_FILE, DTYPES.token, mode="r")
        return len(stream_N) == self.total * self.tokens and all(
            np.array_equal(
                stream_N[first * self.tokens : (first + 4096) * self.tokens],
                np.repeat(np.arange(first, min(first + 4096, self.total)) % KINDS, self.tokens),
            )
            for first in range(0, self.total, 4096)
        )

    def _read(self, path: Path, dtype: np.dtype[Any], first: int, count: int) -> NDArray[Any]:
        if "." in path.parent.name:
            found = np.fromfile(path, dtype, count, offset=first * dtype.itemsize)
        else:
            number = int(path.parent.name.split("-")[0]) // self.rows
            found = self._made(path.name, self.position_SxR[number])[first : first + count].astype(dtype)
        self.reads[path.name] += 1
        self.nbytes[path.name] += found.nbytes
        return found

    def _made(self, name: str, position_R: NDArray[Any]) -> NDArray[Any]:
        made = {
            gather.POSITIONS_FILE: lambda: position_R,
            gather.LENGTHS_FILE: lambda: np.full(self.rows, self.tokens),
            gather.FLAGS_FILE: lambda: np.zeros(self.rows),
            gather.STREAM_FILE: lambda: np.repeat(position_R % KINDS, self.tokens),
        }
        return np.asarray(made[name]())
