"""Parts of the rows as folders of tokens in the cache: a row is read and tokenised once, whatever parts it belongs to.

A part is a range of positions among rows in the order of their use. Parts overlap: the student's rows are some of those
of the training split, and what validates in one fold trains in the others. So all parts that are wanted together are
cut where one of them, or one in the cache, begins or ends. A piece that lies in the cache is copied from there; the
rows of all other pieces are read from the corpus in one pass, tokenised, and gathered into a folder for each piece. A
part is its pieces, end to end.

A published string has 200 rows from the first of its part on: such parts are cut between two strings alone, and a piece
is copied whole or not at all.

Shapes: N all rows in the order of their use, R those that are tokenised now, r some rows of a file.
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
from trainable.text.tokenizer.tokenizer import TextTokenizer
from trainable.text.workers import Workers

SHARDS_FORMAT = 4  # raise when a shard has other files: half a build of an older version is then begun again
COPIED_ROWS, COPIED_BYTES = 1 << 20, 1 << 20  # at once


class Part(NamedTuple):
    """A part that is wanted."""

    positions: range
    label: str  # what its rows are for, in messages
    shaping: dict[str, Any]  # everything that decides which tokens come out
    folder: Path


class _Source(NamedTuple):
    """Where the files of a piece lie: the folder of a part or a piece, and which of its rows; None: all."""

    folder: Path
    rows: range | None = None
    is_ours: bool = False  # made for these parts, so that it may be moved


@dataclass(frozen=True, kw_only=True)
class PartMaker:
    """Makes parts of one text: rows in one order, made tokens of in one way."""

    corpus: Corpus
    row_ids_N: RowIds
    tokenizer: TextTokenizer
    config: TokensConfig
    workers: Workers
    progress: bool | None  # whether a bar is shown; None: on a terminal
    folder: Path  # of all tokens in the cache
    text: str  # stands for the rows in their order, and for how tokens are made of them

    def make(self, parts: Sequence[Part]) -> dict[Path, Manifest]:
        """Build the folders of parts that are not there, each row once; for one who alone works at this text.

        Raises InputError if a row cannot be read; then nothing is left of the work. After a kill it goes on.
        """
        # 1 cut the parts into pieces, and look which of them lie in the cache
        wanted = [part.positions for part in parts]
        known = self._known(wanted)
        ends = {end for positions in (*wanted, *known) for end in (positions.start, positions.stop)}
        pieces = {part.positions: self._cut(part.positions, ends) for part in parts}
        every = sorted({piece for one in pieces.values() for piece in one}, key=lambda piece: (piece.start, piece.stop))
        found = {piece: source for piece in every if (source := self._found(piece, known)) is not None}
        missing = [piece for piece in every if piece not in found]
        # 2 read and tokenise the rows of the others
        work = self.folder / f"{self.text}.{fingerprint([(p.start, p.stop) for p in missing])}.{SHARDS_FORMAT}.shards"
        with _dropped_if_wrong(work):
            label = ", ".join(dict.fromkeys(part.label for part in parts))
            sources = found | self._tokenised(missing, work, f"tokenising {label}")
            # 3 put the parts together; one that is a single piece comes last, for its files are moved
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
        """What is kept of a part, and of a piece."""
        return (STREAM_FILE, LENGTHS_FILE if self._is_packed else BLOCK_LENGTHS_FILE, FLAGS_FILE)

    def _cut(self, part: range, ends: Iterable[int]) -> list[range]:
        """The pieces of a part, between those of some positions where it can be cut."""
        unit = 1 if self._is_packed else PUBLISHED_ROWS
        inner = {end for end in ends if part.start < end < part.stop and (end - part.start) % unit == 0}
        return [range(*bounds) for bounds in pairwise(sorted({part.start, *inner, part.stop}))] or [part]

    def _known(self, wanted: Sequence[range]) -> dict[range, Path]:
        """Whole parts of this text in the cache that have rows in common with those wanted."""
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
        """Where a piece lies in the cache, if it does."""
        for positions, folder in known.items():
            if piece == positions:
                return _Source(folder)
            if self._is_packed and positions.start <= piece.start and piece.stop <= positions.stop:
                return _Source(folder, range(piece.start - positions.start, piece.stop - positions.start))
        return None

    def _tokenised(self, pieces: Sequence[range], work: Path, what: str) -> dict[range, _Source]:
        """The pieces, made in `work`: all their rows are read in one pass over the corpus."""
        if not pieces:
            return {}
        # 1 their rows, end to end, and where among these each piece lies
        united = _united(pieces)
        views = [self.row_ids_N[one.start : one.stop] for one in united]
        row_ids_R = views[0] if len(views) == 1 else np.concatenate(views)
        spans: list[range] = []
        first = 0
        for one in united:
            inner = [piece for piece in pieces if one.start <= piece.start and piece.stop <= one.stop]
            spans += [range(piece.start - one.start + first, piece.stop - one.start + first) for piece in inner]
            first += len(one)
        # 2 their tokens, in a folder for each
        folders = [work / f"piece.{piece.start}-{piece.stop}" for piece in pieces]
        method = pack if self._is_packed else partial(pack_as_published, context=self.config.context)
        with progress_bar(what, len(row_ids_R), self.progress) as advance:
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
    """The positions of pieces that are sorted by their first, as ranges without a position in common."""
    united: list[range] = []
    for piece in pieces:
        if united and piece.start <= united[-1].stop:
            united[-1] = range(united[-1].start, max(united[-1].stop, piece.stop))
        else:
            united.append(piece)
    return united


def _copy(source: _Source, name: str, token_bytes: int, into: Any) -> None:
    """Write to a stream what a file holds of the rows of a source."""
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
    """Tokens of some rows of a part."""
    firsts = range(rows.start, rows.stop, COPIED_ROWS)
    lengths = (read_part(folder / LENGTHS_FILE, LENGTH, n, min(COPIED_ROWS, rows.stop - n)) for n in firsts)
    return sum(int(length_r.sum(dtype=np.int64)) for length_r in lengths)


@contextmanager
def _dropped_if_wrong(folder: Path) -> Iterator[None]:
    """Remove the work after wrong input or on a full disk; that of a build that was killed or interrupted stays."""
    try:
        yield
    except (InputError, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        raise
