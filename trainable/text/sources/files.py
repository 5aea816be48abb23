"""Choose the files of a folder or a pattern that are the corpus, by their names alone.

Why: official train, validation and test files that are read as one text are a leak that no number shows. The rules:
- Of files and folders that are named by splits (split_names.py), one split is taken.
- All files must be of one form; if there are parquet files, only these are read. No text may be there twice, packed
  and unpacked.
- Hidden files (`.` or `_` first) and other kinds are left out; the user is told which files are not read.
- Files come in the plain order of their names: part-10 before part-2.
"""

import glob
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainable.errors import InputError, require
from trainable.text.sources.split_names import ALL, TRAIN, chosen_split, half_named, split_note, splits_of

PARQUET, JSONL, CSV, TSV, LINES = "parquet", "jsonl", "csv", "tsv", "text"
FORMS = {
    **dict.fromkeys((".parquet", ".parq", ".pq"), PARQUET),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), JSONL),
    ".csv": CSV,
    ".tsv": TSV,
    ".txt": LINES,
}
PACKED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zstd": "zstd", ".lz4": "lz4", ".xz": "xz"}
KNOWN = (
    "give a .parquet, .jsonl, .csv, .tsv or .txt file (all but parquet may be packed as .gz, .zst, .bz2, .lz4 or .xz), "
    "a folder or a pattern of such files, or a folder that `save_to_disk` wrote"
)
_BESIDE_TEXT = (  # files that accompany a data set and hold none of its text
    *("readme.txt", "license.txt", "licence.txt", "notice.txt", "requirements.txt", "config.json", "state.json"),
    *("dataset_info.json", "dataset_infos.json", "dataset_dict.json"),
)
_TABLES = {"_delta_log": "a Delta table", ".hoodie": "a Hudi table", "metadata/*.metadata.json": "an Iceberg table"}
_UNFINISHED = "_temporary"  # folder that Spark writes into, and removes at the end
_SHARD = re.compile(r"(.+[-._])\d+-of-(\d+)")  # train-00000-of-00003
_DEPTH = 3  # levels of folders below the given one, such as data/train/part
_TOLD = 3  # file names in a message, at most


@dataclass(frozen=True, kw_only=True)
class CorpusFiles:
    """The files of a corpus, in the order in which they are read."""

    form: str
    paths: tuple[Path, ...]
    split: str | None  # the split that their names say
    notes: tuple[str, ...]  # notes to the user: the split, and files that are not read


def form_of(path: Path) -> str | None:
    """Form of a file, by its ending; None if the ending is not that of a form that can be read."""
    ending = path.suffix.lower()
    if ending not in PACKED:
        return FORMS.get(ending)
    form = FORMS.get(Path(path.stem).suffix.lower())
    return None if form == PARQUET else form


def folder_files(folder: Path, split: str) -> CorpusFiles:
    """Choose files in a folder, or in folders in it. Raises InputError if they are not one corpus or lack the split."""
    files, others = _files_below(folder)
    return _chosen(files, _splits_of_paths(files, folder), others, split, folder)


def pattern_files(pattern: Path, split: str) -> CorpusFiles:
    """Choose the files that a pattern such as data/*.jsonl matches; if all are of one split, that split is wanted."""
    # 1 the leading parts that exist are names, whatever their characters; the rest is the pattern
    base, rest = Path(pattern.anchor), list(pattern.parts[1:] if pattern.anchor else pattern.parts)
    while (base / rest[0]).exists():
        base /= rest.pop(0)
    try:
        matched = sorted(base.glob("/".join(rest)))
    except ValueError:  # ** beside other characters
        matched = []
    require(bool(matched), f"no file matches {str(pattern)!r}: correct corpus.source.")
    # 2 take the files among the matches; hidden ones only if the pattern names them
    hidden_too = any(part.startswith((".", "_")) for part in rest)
    seen = [path for path in matched if hidden_too or not any(map(_is_hidden, map(Path, path.relative_to(base).parts)))]
    files = [path for path in seen if form_of(path) and not path.is_dir()]
    _require_targets(files)
    require(bool(files), f"{str(pattern)!r} matches {_some(matched)} but no file that can be read: {KNOWN}.")
    others = [path.name for path in matched if path not in files]
    # 3 if all files are of one split, take that split
    named = _splits_of_paths(files, base)
    if split == TRAIN and len(named) == len(files) and len(set(named.values())) == 1:
        split = named[files[0]]
    return _chosen(files, named, others, split, pattern)


def _files_below(folder: Path) -> tuple[list[Path], list[str]]:
    """List the files of a folder, or else of the one folder or the splits in it; and the names of what is left out."""
    files, folders, others = _listed(folder)
    splits = splits_of([_stem(path) for path in files] + [inner.name for inner in folders]) if folders else {}
    if files and folders and not any(_stem(path) in splits for path in files):
        if form_of(files[0]) == PARQUET:
            return files, [*others, *(f"{inner.name}/" for inner in folders)]
        raise InputError(
            f"{folder} holds files ({_some(files)}) and folders of files ({_some(folders)}): give one of the folders, "
            "or a pattern of files."
        )
    require(bool(files or folders), f"{folder} holds no files of text and no saved data set: {KNOWN}.")
    require(
        len(folders) <= 1 or bool(splits),
        f"{folder} has files in several folders ({_some(folders)}): give one of them, or a pattern such as "
        f"'{glob.escape(str(folder))}/*/*' for all.",
    )
    taken = [inner for inner in folders if inner.name in splits] if splits else folders
    others += [f"{inner.name}/" for inner in folders if inner not in taken]
    for inner in taken:
        more, left_out = _files_below(inner)
        files += more
        others += left_out
    return files, others


def _listed(folder: Path) -> tuple[list[Path], list[Path], list[str]]:
    """List files that may be the corpus (only parquet, if any), folders with such files, names of all else."""
    _require_plain(folder)
    files, others = [], []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot list {folder} ({error.strerror or error}): check its permissions.") from error
    folders = [path for path in entries if path.is_dir() and not _is_hidden(path) and _has_files(path, _DEPTH)]
    for path in (path for path in entries if not path.is_dir()):
        if _may_be_read(path):
            files.append(path)
        elif form_of(path) or not _is_hidden(path):
            others.append(path.name)
    _require_targets(files)
    parquet = [path for path in files if form_of(path) == PARQUET]
    return parquet or files, folders, others + [path.name for path in files if parquet and path not in parquet]


def _chosen(
    files: Sequence[Path], named: Mapping[Path, str], others: Sequence[str], split: str, where: Path
) -> CorpusFiles:
    """Choose the files of the wanted split, all of one form. named: the split of each file."""
    found = sorted(set(named.values()))
    taken = chosen_split(found, split, where) if found else None
    require(
        taken is not None or split in (TRAIN, ALL),
        f"corpus.split is {split!r} but the files of {where} are not named by splits: leave it out.",
    )
    paths = list(files) if taken == ALL else [path for path in files if named.get(path) == taken]
    others = [*others, *(path.name for path in files if path not in paths and path not in named)]
    if any(form_of(path) == PARQUET for path in paths):
        others += [path.name for path in paths if form_of(path) != PARQUET]
        paths = [path for path in paths if form_of(path) == PARQUET]
    _require_one_text(paths, where)
    more = f" and {len(others) - _TOLD} more" if len(others) > _TOLD else ""
    told = (f"not read: {', '.join(others[:_TOLD])}{more}",) if others else ()
    said = (split_note(taken, found),) if taken is not None else ()
    told = (*_missing_shards(paths), *told)
    if taken is None and (words := half_named(list(map(_stem, paths)))):
        told = (
            f"warning: {words[0]} may be named for a split, yet all are read as one text (give a pattern to read some)",
            *told,
        )
    form, last = str(form_of(paths[0])), f" to {paths[-1].name}" if len(paths) > 1 else ""
    read = f"{len(paths)} {form} file{'s' if last else ''}, {paths[0].name}{last}"
    return CorpusFiles(form=form, paths=tuple(paths), split=taken, notes=(read, *said, *told))


def _splits_of_paths(files: Sequence[Path], base: Path) -> dict[Path, str]:
    """Split of each file: named by a folder between `base` and the file, the outermost first, else by the file name."""
    parts = {path: [*path.relative_to(base).parts[:-1], _stem(path)] for path in files}
    for level in range(max(map(len, parts.values()))):
        names = {path: names[min(level, len(names) - 1)] for path, names in parts.items()}
        if splits := splits_of(set(names.values())):
            return {path: splits[name] for path, name in names.items() if name in splits}
    return {}


def _missing_shards(paths: Sequence[Path]) -> Iterator[str]:
    """Yield warnings of missing shards: the name of a shard, such as train-00000-of-00003, says how many there are."""
    found = Counter(match.groups() for path in paths if (match := _SHARD.fullmatch(_stem(path))))
    for (name, total), count in found.items():
        if count < int(total):
            yield f"warning: only {count:,} of the {int(total):,} shards {name}*-of-{total} are there"


def _require_plain(folder: Path) -> None:
    """Raise InputError for a folder whose files hold more or less than its text: a table, or an unfinished write."""
    for mark, kind in _TABLES.items():
        for owner in (folder, folder.parent):
            require(
                next(owner.glob(mark), None) is None,
                f"{owner} is {kind}, whose files also hold rows that were deleted or replaced: write its current rows "
                "to parquet or jsonl files elsewhere, and give those.",
            )
    require(
        not (folder / _UNFINISHED).exists(),
        f"{folder} holds {_UNFINISHED}/, which Spark removes when all is written: write it again, or remove "
        f"{_UNFINISHED}/ if the rest is whole.",
    )


def _require_one_text(paths: Sequence[Path], where: Path) -> None:
    """Raise InputError for files of several forms, or for one text in two files."""
    forms, twins = defaultdict(list), defaultdict(list)
    for path in paths:
        forms[form_of(path)].append(path)
        twins[path.with_name(_stem(path))].append(path)
    names = "; ".join(_some(some) for some in forms.values())
    require(len(forms) == 1, f"{where} holds files of several forms ({names}): give a pattern of those to read.")
    for same in twins.values():
        require(
            len(same) == 1,
            f"{where} holds {_some(same)}, which seem to be one text twice: remove all but one, or give a pattern.",
        )


def _require_targets(files: Sequence[Path]) -> None:
    """Raise InputError for a link to a missing file, which would make the corpus shorter."""
    for path in files:
        require(path.exists(), f"{path} is a link to a file that is gone: download it again, or remove the link.")


def _may_be_read(path: Path) -> bool:
    """Whether the name is that of a text file: not hidden, and not one that accompanies a data set."""
    return form_of(path) is not None and not _is_hidden(path) and path.name.lower() not in _BESIDE_TEXT


def _has_files(folder: Path, depth: int) -> bool:
    """Whether a file that may be read lies in the folder or below, at most `depth` levels deep."""
    try:
        entries = list(folder.iterdir())
    except OSError:
        return False
    return any(_may_be_read(path) and not path.is_dir() for path in entries) or (
        depth > 1 and any(path.is_dir() and not _is_hidden(path) and _has_files(path, depth - 1) for path in entries)
    )


def _is_hidden(path: Path) -> bool:
    """Whether the name is one that programs hide: ._part-0.parquet, .DS_Store, _SUCCESS, _metadata, ~$rows.csv."""
    return path.name.startswith((".", "_", "~$"))


def _stem(path: Path) -> str:
    """Name of a file without the endings for its form and packing."""
    stem = Path(path.stem) if path.suffix.lower() in PACKED else path
    return stem.stem


def _some(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - _TOLD} more" if len(paths) > _TOLD else ""
    return ", ".join(path.name for path in paths[:_TOLD]) + more
