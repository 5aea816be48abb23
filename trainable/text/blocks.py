"""Turn text rows into blocks of token ids: memory-mapped files, made once and found again by fingerprint.

Shapes: N tokens of the stream, B blocks, T tokens in a block (`tokens.context`), R rows, n tokens read at once.

Two ways to pack (`tokens.packing`):
  packed        Each row's tokens and an eos, rows end to end in the order of use, cut every T tokens. No padding: the
                tokens left at the end are in the stream but in no block.
  as_published  Each 200 rows joined with "", tokenised as one string with the tokenizer's own special tokens, and cut
                every T tokens. The last block of the 200 rows is padded, so a quarter of the published blocks is short.
                `lengths_B` has the number of real tokens of each block: the id of the padding may also be that of eos.

The training rows of k folds have parts in common. Each part is tokenised once (text/parts.py), with a tokenizer that
the folds share. The tokens of the parts are then joined end to end: the same stream as that of all rows at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainable.errors import DamagedFile, require
from trainable.record.cache import MANIFEST_FILE, Manifest, building, built_once, whole
from trainable.record.files import fingerprint, join_files
from trainable.text.corpus import Corpus
from trainable.text.gather import STREAM_FILE
from trainable.text.packing import BLOCK_LENGTH, BLOCK_LENGTHS_FILE, PUBLISHED_ROWS, RowCounts, id_dtype
from trainable.text.parts import Part, PartMaker
from trainable.text.settings import TokensConfig
from trainable.text.split import Parts, RowIds, row_ids_digest
from trainable.text.tokenizer.tokenizer import TextTokenizer
from trainable.text.workers import LOCAL, Workers

_SUMS = ("rows", *RowCounts._fields)  # counts that are added up over parts
_PLAIN_FIELDS = ("eos_id", "pad_id", "vocab_size", *_SUMS, "fingerprint", "checksum", "path")
READ_TOKENS = 1 << 18  # tokens read at once
FORMAT = 2  # raise when the same settings give other tokens
Ids = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, eq=False)
class TokenBlocks:
    """Blocks of token ids, read-only. A pickle has each token once, as plain arrays; `path` can be sent instead."""

    # uint16, or uint32 where the vocabulary is larger than 65,536; a view of stream_N
    ids_BxT: Ids
    # all tokens; packed: the tail that fills no block included; as_published: pads included
    stream_N: Ids
    # number of real tokens of each block, the rest is padding; None: no padding
    lengths_B: NDArray[np.int32] | None
    eos_id: int
    pad_id: int | None  # None: no padding
    vocab_size: int
    rows: int  # number of row ids asked for
    empty_rows: int  # rows among these that are null or blank, and left out
    fingerprint: str  # of everything that shapes the tokens
    checksum: str  # SHA-256 of the file of the stream
    path: Path  # the folder in the cache
    unread_rows: int = 0  # rows with text that give no token, or are mostly unknown
    eos_rows: int = 0  # rows whose own text gives an eos

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        return _restored, (self.stream_N, self.ids_BxT.shape[1], self.lengths_B, fields)


def token_blocks(
    corpus: Corpus,
    row_ids_R: RowIds,
    tokenizer: TextTokenizer,
    config: TokensConfig,
    cache: Path,
    *,
    label: str = "rows",
    progress: bool | None = None,
    workers: Workers = LOCAL,
) -> TokenBlocks:
    """Make blocks of rows of a `corpus` with a `tokenizer`: `blocks.ids_BxT`, [B, T] token ids, read-only.

    row_ids_R: row ids in the order of their use, such as `split.train`.
    config: T (`context`) and `packing` (trainable.config.TokensConfig). With the packing "packed", `blocks.stream_N`
    has each row's tokens and an eos, end to end, uncut.
    cache: folder in which the blocks are found, or made now.
    label: what the rows are for, in messages and in the progress bar.
    progress: whether the bar is shown; None: only on a terminal.
    workers: do the tokenising; this process, unless a sweep gives others.

    Rows that do not fill a block give none. After a kill, the next call continues at the first missing shard. A build
    holds the row ids and a few shards for each worker, whatever the number of rows; as_published also holds the text.
    Raises InputError if a row cannot be read, or a token id exceeds the vocabulary; a build then leaves nothing behind.
    """
    rows = Rows(corpus, row_ids_R, row_ids_digest(row_ids_R))
    parts = {range(len(row_ids_R)): label}
    return blocks_of_parts(rows, parts, tokenizer, config, cache, progress=progress, workers=workers)[0]


class Rows(NamedTuple):
    """Rows of a corpus in the order of their use."""

    corpus: Corpus
    row_ids_N: RowIds
    order: Any  # JSON value that stands for the row ids in their order: equal values, equal row ids


def blocks_of_parts(
    rows: Rows,
    labels: Mapping[range, str],
    tokenizer: TextTokenizer,
    config: TokensConfig,
    cache: Path,
    *,
    progress: bool | None = None,
    workers: Workers = LOCAL,
) -> list[TokenBlocks]:
    """Make blocks of each part of the rows, as `token_blocks` does; a row that is in several parts is tokenised once.

    labels: {part: what its rows are for}; a part is a range of positions in `rows`.
    """
    how = {  # together with the rows, everything that decides which tokens come out
        "format": FORMAT,
        "corpus": rows.corpus.fingerprint,
        "column": rows.corpus.column,
        "tokenizer": tokenizer.fingerprint,
        "packing": config.packing,
        "context": config.context,
    }
    folder, parts = cache / "tokens", []
    for positions, label in labels.items():
        shaping = how | {"rows": row_ids_digest(rows.row_ids_N[positions.start : positions.stop])}
        parts.append(Part(positions, label, shaping, folder / fingerprint(shaping)))

    manifests = {part.folder: whole(part.folder) for part in parts}
    missing = [part for part in parts if manifests[part.folder] is None]
    if missing:
        maker = PartMaker(
            corpus=rows.corpus,
            row_ids_N=rows.row_ids_N,
            tokenizer=tokenizer,
            config=config,
            workers=workers,
            progress=progress,
            folder=folder,
            text=fingerprint([how, rows.order]),
        )
        with building(folder / maker.text):
            # another process may have made them while this one waited
            manifests |= {part.folder: whole(part.folder) for part in missing}
            manifests |= maker.make([part for part in missing if manifests[part.folder] is None])
    return [_mapped(part.folder, manifests[part.folder] or {}) for part in parts]


def joined_blocks(parts: Sequence[TokenBlocks], cache: Path, label: str) -> TokenBlocks:
    """Join the tokens of all parts end to end, as blocks, which are kept in `cache`.

    Raises InputError if the tokens do not fill one block of `tokens.context`.
    """
    whole = parts[0] if len(parts) == 1 else _joined(parts, cache)
    tokens, context = len(whole.stream_N), whole.ids_BxT.shape[1]
    require(
        tokens >= context,
        f"the {label} give {tokens:,} tokens, fewer than one block of {context:,}: "
        "give more rows or a smaller tokens.context.",
    )
    return whole


def separable(parts: Parts, config: TokensConfig) -> list[Parts]:
    """Group the parts to be tokenised together: each part alone, or all, if a published string would cross two."""
    whole_strings = all(len(part) % PUBLISHED_ROWS == 0 for part in parts[:-1])
    return [(part,) for part in parts] if config.packing == "packed" or whole_strings else [parts]


def _joined(parts: Sequence[TokenBlocks], cache: Path) -> TokenBlocks:
    shaping = {"format": FORMAT, "context": parts[0].ids_BxT.shape[1], "parts": [part.fingerprint for part in parts]}
    folder = cache / "tokens" / fingerprint(shaping)

    def build(into: Path) -> Manifest:
        for name in (STREAM_FILE, BLOCK_LENGTHS_FILE) if parts[0].lengths_B is not None else (STREAM_FILE,):
            join_files([part.path / name for part in parts], into / name)
        sums = {name: sum(getattr(part, name) for part in parts) for name in _SUMS}
        same = {name: getattr(parts[0], name) for name in ("eos_id", "pad_id", "vocab_size")}
        tokens = sum(len(part.stream_N) for part in parts)
        return {"shaping": shaping, "tokens": tokens, "dtype": parts[0].stream_N.dtype.str, **sums, **same}

    return _mapped(folder, built_once(folder, build))


def _mapped(folder: Path, manifest: Manifest) -> TokenBlocks:
    try:
        fields = {name: manifest[name] for name in ("eos_id", "pad_id", "vocab_size", *_SUMS)}
        fields |= {"fingerprint": folder.name, "checksum": manifest["files"][STREAM_FILE]["sha256"], "path": folder}
        context, tokens = manifest["shaping"]["context"], manifest["tokens"]
        if manifest["dtype"] != id_dtype(fields["vocab_size"]).str:
            raise ValueError(f"token ids of type {manifest['dtype']!r}")
        stream_N = _read_only(folder / STREAM_FILE, manifest["dtype"], tokens)
        padded = fields["pad_id"] is not None
        lengths_B = _read_only(folder / BLOCK_LENGTHS_FILE, BLOCK_LENGTH.str, tokens // context) if padded else None
        if _largest(folder / STREAM_FILE, manifest["dtype"]) >= fields["vocab_size"]:
            raise ValueError("a token id outside of the vocabulary")
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(folder / MANIFEST_FILE, repr(error), f"delete {folder}, and run again") from error
    return _restored(stream_N, context, lengths_B, fields)


def _largest(path: Path, dtype: str) -> int:
    """Largest id of a stream, or 0. Read, not mapped: mapped pages would count as this process's memory."""
    largest = 0
    with open(path, "rb") as stream:
        while len(ids_n := np.fromfile(stream, dtype, READ_TOKENS)):
            largest = max(largest, int(ids_n.max()))
    return largest


def _read_only(path: Path, dtype: str, size: int) -> NDArray[Any]:
    """Map a file as a plain array: a pickle copies an np.memmap, and can pass a plain array by reference."""
    if size == 0:  # an empty file cannot be mapped
        return np.zeros(0, dtype)
    return np.memmap(path, dtype, mode="r", shape=(size,)).view(np.ndarray)


def _restored(stream_N: Ids, context: int, lengths_B: NDArray[np.int32] | None, fields: dict[str, Any]) -> TokenBlocks:
    """Build token blocks from their stream; a pickle has only the stream, and so each token once."""
    for array in (stream_N, lengths_B):
        if array is not None:
            array.flags.writeable = False
    blocks = len(stream_N) // context
    ids_BxT = stream_N[: blocks * context].reshape(blocks, context)
    return TokenBlocks(ids_BxT=ids_BxT, stream_N=stream_N, lengths_B=lengths_B, **fields)
