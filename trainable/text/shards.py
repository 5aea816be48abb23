"""Work in shards, each kept as a small folder of its own until the whole is made of them; and a bar that shows it.

Why: a preparation that is killed goes on at the shard where it was. The name of a shard says which rows it covers, so
shards that were cut in another way are never taken for these.
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

    name: str  # of its folder: which rows it covers
    rows: int
    work: Any  # what is worked at; it may travel to another machine
    beside: Arrays  # what is kept with the result


@dataclass(frozen=True)
class ShardMaker:
    """Makes shards in a folder, with workers, and tells of the rows done."""

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
        """The folders of all shards, in order, with the arrays that `function` makes of each shard's work.

        rows: of all shards, to judge by the first whether their disk has room for them, and for as many copies as are
        made of so many shards. Those that are whole stay as they are.
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
        """Raise InputError unless the disk takes the shards and, for a while beside them, what is made of them."""
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
    """A bar on stderr, as a function to call with the rows done. show: None shows it where stderr is a terminal."""
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda rows: bar.advance(task, rows)
