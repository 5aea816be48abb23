"""Work in shards: the result of each is kept in a small folder until the whole is made of them. A bar shows progress.

Why: a preparation that was killed goes on at the first missing shard. The name of a shard says which rows it covers, so
a shard that was cut in another way is never used in its place.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from trainable.record.cache import ROOM_HINT, Manifest, build_folder, remove_abandoned, whole
from trainable.record.files import require_room
from trainable.text.workers import Workers

Arrays = dict[str, NDArray[Any]]  # by file name
Advance = Callable[[int], None]  # (rows done since the last call)


class Shard(NamedTuple):
    """Some of the rows, as one piece of work."""

    name: str  # of its folder: says which rows the shard covers
    rows: int
    work: Any  # input of the work; it may be sent to another machine
    beside: Arrays  # arrays to keep with the result


@dataclass(frozen=True)
class ShardMaker:
    """Maker of shards in a folder, with workers; it calls `advance` with the rows done."""

    folder: Path
    workers: Workers
    advance: Advance

    def make(
        self,
        shards: Iterable[Shard],
        function: Callable[[Any], Arrays],
        rows: int,
        copies: Callable[[float], int] = lambda shards: 1,
    ) -> list[Path]:
        """Make the missing shards; return the folders of all shards, in order.

        function: makes the arrays of a shard from its `work`. rows: number of rows of all shards. copies: (number of
        shards) -> number of copies that are later made of all of them. From the first shard, the space that shards and
        copies need is estimated; InputError is raised if the disk has less.
        """
        paths: list[Path] = []
        waiting: deque[tuple[Path, int, Arrays]] = deque()
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self.folder)

        def missing() -> Iterator[Any]:
            for shard in shards:
                paths.append(self.folder / shard.name)
                if whole(paths[-1]) is not None:
                    self.advance(shard.rows)
                    continue
                waiting.append((paths[-1], shard.rows, shard.beside))
                yield shard.work

        room_is_known = False
        for arrays in self.workers.map(function, missing()):
            path, done, beside = waiting.popleft()
            if not room_is_known:
                self._require_room(arrays, beside, done / rows, copies(rows / done))
                room_is_known = True
            build_folder(path, partial(_write, arrays | beside))
            self.advance(done)
        return paths

    def _require_room(self, arrays: Arrays, beside: Arrays, share: float, copies: int) -> None:
        """Raise InputError unless the disk has room for the shards and, for a while beside them, for their copies."""
        needed = sum((1 + copies) * array.nbytes for array in arrays.values())
        needed += sum(array.nbytes for array in beside.values())
        require_room(self.folder, needed / share, "the tokens of the rows", ROOM_HINT)


def _write(arrays: Arrays, folder: Path) -> Manifest:
    for name, array in arrays.items():
        with open(folder / name, "wb") as stream:
            stream.write(array.data)
    return {}


@contextmanager
def progress_bar(what: str, total: int, show: bool | None = None) -> Iterator[Advance]:
    """Show a bar on stderr; yield a function to call with the rows done. show: None: only if stderr is a terminal."""
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda rows: bar.advance(task, rows)
