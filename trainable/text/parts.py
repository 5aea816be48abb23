"""Make parts of the rows into folders of tokens in the cache; a row that is in several parts is tokenised once.

A part is a range of positions; the position of a row is its place in the order of use. Parts overlap: the student's
rows are some rows of the training split, and rows that validate in one fold train in the others. So:
1. All wanted parts are cut into pieces, wherever one of them, or a part in the cache, begins or ends.
2. A piece that lies in the cache is copied from there.
3. The rows of all other pieces are read from the corpus in one pass, tokenised, and gathered, one folder a piece.
4. The pieces of each part are joined end to end.

With the packing as_published, each 200 rows are one string, counted from the first row of the part. Such parts are cut
only between two strings, and a piece is copied whole or not at all.

Shapes: N all rows in the order of their use, R rows that are tokenised now, r some rows of a file.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainable.errors import InputError
from trainable.record.cache import MANIFEST_FILE, Manifest, built_once, whole
from trainable.record.files import fingerprint, read_json
from trainable.text.corpus import Corpus
from trainable.text.gather import FLAG, FLAGS_FILE, LENGTH, LENGTHS_FILE, STREAM_FILE, read_part
from trainable.text.packing import (
    BLOCK_LENGTHS_FILE,
    PUBLISHED_ROWS,
    counted,
    id_dtype,
    pack,
    pack_as_published,
    pad_id,
)
from trainable.text.settings import TokensConfig
from trainable.text.shards import ShardMaker, progress_bar
from trainable.text.split import RowIds
from trainable.text.tokenizer.encode import without_library_threads
from trainable.text.tokenizer.tokenizer import TextTokenizer
from trainable.text.workers import Workers

SHARDS_FORMAT = 4  # raise when the files of a shard change: an unfinished build of an older version then starts again
COPIED_ROWS, COPIED_BYTES = 1 << 20, 1 << 20  # read at once


class Part(NamedTuple):
    """A part to make."""

    positions: range
    label: str  # what its rows are for, in messages
    shaping: dict[str, Any]  # everything that decides which tokens come out
    folder: Path


class _Source(NamedTuple):
    """The files of a piece: a folder, and which of the rows in it are the piece."""

    folder: Path  # of a part or a piece
    rows: range | None = None  # None: all rows of the folder
    is_ours: bool = False  # made just now for these parts, so its files may be moved


@dataclass(frozen=True, kw_only=True)
class PartMaker:
    """Maker of parts of one text: rows in one order, tokenised in one way."""

    corpus: Corpus
    row_ids_N: RowIds
    tokenizer: TextTokenizer
    config: TokensConfig
    workers: Workers
    progress: bool | None  # whether a bar is shown; None: only on a terminal
    folder: Path  # of all tokens in the cache
    text: str  # fingerprint of the rows in their order, and of how they are tokenised

    def make(self, parts: Sequence[Part]) -> dict[Path, Manifest]:
        """Build the folders of missing parts and return their manifests; each row is tokenised once.

        No other process may work at the same text meanwhile. Raises InputError if a row cannot be read; the unfinished
        work is then removed. After a kill, the next call continues the work.
        """
        # 1 cut the parts into pieces, and look which of them lie in the cache
        wanted = [part.positions for part in parts]
        known = self._known(wanted)
        ends = {end for positions in (*wanted, *known) for end in (positions.start, positions.stop)}
        pieces = {part.positions: self._cut(part.positions, ends) for part in parts}
        every = sorted({piece for one in pieces.values() for piece in one}, key=lambda piece: (piece.start, piece.stop))
        found = {piece: source for piece in every if (source := self._found(piece, known)) is not None}
        missing = [piece for piece in every if piece not in found]
        # 2 read and tokenise the rows of the missing pieces
        work = self.folder / f"{self.text}.{fingerprint([(p.start, p.stop) for p in missing])}.{SHARDS_FORMAT}.shards"
        with _dropped_if_wrong(work):
            label = ", ".join(dict.fromkeys(part.label for part in parts))
            sources = found | self._tokenised(missing, work, f"tokenising {label}")
            # 3 join the pieces of each part; parts of a single piece come last, for their files are moved
            made = {}
            for part in sorted(parts, key=lambda part: -len(pieces[part.positions])):
                ours = [sources[piece] for piece in pieces[part.positions]]
                made[part.folder] = built_once(part.folder, partial(self._assemble, part, ours))
        for name in (self.text, *(part.folder.name for part in parts)):
            for left in self.folder.glob(f"{name}*.shards"):
                shutil.rmtree(left, ignore_errors=True)
        return made

    @property
    def _is_packed(self) -> bool:
        return self.config.packing == "packed"

    @property
    def _files(self) -> tuple[str, ...]:
        """Names of the files of a part or a piece."""
        return (STREAM_FILE, LENGTHS_FILE if self._is_packed else BLOCK_LENGTHS_FILE, FLAGS_FILE)

    def _cut(self, part: range, ends: Iterable[int]) -> list[range]:
        """Cut a part into pieces at those of the positions `ends` at which it may be cut."""
        unit = 1 if self._is_packed else PUBLISHED_ROWS
        inner = {end for end in ends if part.start < end < part.stop and (end - part.start) % unit == 0}
        return [range(*bounds) for bounds in pairwise(sorted({part.start, *inner, part.stop}))] or [part]

    def _known(self, wanted: Sequence[range]) -> dict[range, Path]:
        """Undamaged parts of this text in the cache that share rows with the wanted parts: {positions: folder}."""
        found = {}
        for path in self.folder.glob(f"*/{MANIFEST_FILE}"):
            try:
                manifest = read_json(path)
                positions = range(*manifest["positions"]) if manifest.get("text") == self.text else range(0)
            except (InputError, KeyError, TypeError, ValueError):
                continue
            if any(positions.start < one.stop and one.start < positions.stop for one in wanted) and whole(path.parent):
                found[positions] = path.parent
        return found

    def _found(self, piece: range, known: Mapping[range, Path]) -> _Source | None:
        """Find a piece in the cache; None if it is not there."""
        for positions, folder in known.items():
            if piece == positions:
                return _Source(folder)
            if self._is_packed and positions.start <= piece.start and piece.stop <= positions.stop:
                return _Source(folder, range(piece.start - positions.start, piece.stop - positions.start))
        return None

    def _tokenised(self, pieces: Sequence[range], work: Path, what: str) -> dict[range, _Source]:
        """Make the pieces in the folder `work`; all their rows are read in one pass over the corpus."""
        if not pieces:
            return {}
        # 1 the rows of all pieces end to end, and the span of each piece among them
        united = _united(pieces)
        views = [self.row_ids_N[one.start : one.stop] for one in united]
        row_ids_R = views[0] if len(views) == 1 else np.concatenate(views)
        spans: list[range] = []
        first = 0
        for one in united:
            inner = [piece for piece in pieces if one.start <= piece.start and piece.stop <= one.stop]
            spans += [range(piece.start - one.start + first, piece.stop - one.start + first) for piece in inner]
            first += len(one)
        # 2 the tokens of each piece, in a folder of its own
        folders = [work / f"piece.{piece.start}-{piece.stop}" for piece in pieces]
        method = pack if self._is_packed else partial(pack_as_published, context=self.config.context)
        with progress_bar(what, len(row_ids_R), self.progress) as advance, without_library_threads():
            method(self.corpus, row_ids_R, spans, self.tokenizer, folders, ShardMaker(work, self.workers, advance))
        return {piece: _Source(folder, is_ours=True) for piece, folder in zip(pieces, folders, strict=True)}

    def _assemble(self, part: Part, sources: Sequence[_Source], into: Path) -> Manifest:
        """Fill the folder of a part with its pieces, end to end."""
        dtype = id_dtype(self.tokenizer.vocab_size)
        if len(sources) == 1 and sources[0].is_ours:
            for name in self._files:
                os.replace(sources[0].folder / name, into / name)
        else:
            for name in self._files:
                with open(into / name, "wb") as stream:
                    for source in sources:
                        _copy(source, name, dtype.itemsize, stream)
        return {
            "label": part.label,
            "shaping": part.shaping,
            "text": self.text,
            "positions": [part.positions.start, part.positions.stop],
            "tokens": (into / STREAM_FILE).stat().st_size // dtype.itemsize,
            "dtype": dtype.str,
            "rows": len(part.positions),
            **counted(into / FLAGS_FILE)._asdict(),
            "eos_id": self.tokenizer.eos_id,
            "pad_id": None if self._is_packed else pad_id(self.tokenizer),
            "vocab_size": self.tokenizer.vocab_size,
        }


def _united(pieces: Iterable[range]) -> list[range]:
    """Join pieces that touch or overlap, so that no position is in two ranges; pieces: sorted by first position."""
    united: list[range] = []
    for piece in pieces:
        if united and piece.start <= united[-1].stop:
            united[-1] = range(united[-1].start, max(united[-1].stop, piece.stop))
        else:
            united.append(piece)
    return united


def _copy(source: _Source, name: str, token_bytes: int, into: Any) -> None:
    """Copy the part of a source's file that belongs to the source's rows to the open file `into`."""
    sizes = {LENGTHS_FILE: LENGTH.itemsize, FLAGS_FILE: FLAG.itemsize}
    with open(source.folder / name, "rb") as stream:
        if source.rows is None:
            shutil.copyfileobj(stream, into, COPIED_BYTES)
            return
        if name == STREAM_FILE:
            first = _tokens(source.folder, range(source.rows.start)) * token_bytes
            left = _tokens(source.folder, source.rows) * token_bytes
        else:
            first, left = source.rows.start * sizes[name], len(source.rows) * sizes[name]
        stream.seek(first)
        while block := stream.read(min(left, COPIED_BYTES)):
            into.write(block)
            left -= len(block)


def _tokens(folder: Path, rows: range) -> int:
    """Number of tokens of some rows of a part."""
    firsts = range(rows.start, rows.stop, COPIED_ROWS)
    lengths = (read_part(folder / LENGTHS_FILE, LENGTH, n, min(COPIED_ROWS, rows.stop - n)) for n in firsts)
    return sum(int(length_r.sum(dtype=np.int64)) for length_r in lengths)


@contextmanager
def _dropped_if_wrong(folder: Path) -> Iterator[None]:
    """Remove the folder if the block raises InputError or OSError (wrong input, full disk); after a kill it stays."""
    try:
        yield
    except (InputError, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        raise
