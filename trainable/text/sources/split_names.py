"""The split that the name of a file or folder says: train, validation, test, or another that its shards are named by.

The words and their delimiters are those of `datasets` (data_files.py), so that a folder gives the rows that
`load_dataset` would take; they may be joined with "set" or "split" (trainset). Unlike there, a word among others
("photo of a train.txt", "training_notes.parquet") says a split only where every name has one and they differ: else the
other files would be left out for a word in a title.
"""

import re
from collections.abc import Collection, Iterable

from trainable.errors import InputError

TRAIN = "train"
ALL = "all"  # every split as one text, for names that only look like splits
WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "valid", "dev", "val"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_WORD = f"(?:{'|'.join(sorted(WORDS, key=len, reverse=True))})"
_SET = "(?:set|split)?"  # trainset, TestSplit
_COUNT = r"(?:[-._ \d]|of|part|shard|chunk)*"  # what numbers a shard
_WHOLE = re.compile(f"({_WORD}){_SET}{_COUNT}", re.IGNORECASE)  # train, train-00000-of-00002, test_part_3
_AT_END = re.compile(rf".*[-._ \d]({_WORD}){_SET}{_COUNT}", re.IGNORECASE)  # wiki.train, c4-validation.00000-of-00008
_ANYWHERE = re.compile(rf"(?<![^-._ \d])({_WORD}){_SET}(?![^-._ \d])", re.IGNORECASE)  # train-v1.1, training_notes
_PARTITION = re.compile("split=(.+)", re.IGNORECASE)  # folders of writers that part a table by a column `split`
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}")  # of any split: train_sft-00000-of-00003


def splits_of(names: Collection[str]) -> dict[str, str]:
    """{name: its split} of those that say one; names are without endings. Empty where they are no names of splits."""
    partitions = {name: canonical(match[1]) for name in names if (match := _PARTITION.fullmatch(name))}
    if len(partitions) == len(names):
        return partitions
    shards = {name: match[1] for name in names if (match := _SHARD.fullmatch(name))}
    if len(shards) == len(names) and len(set(shards.values())) > 1 and any(map(_anywhere, shards.values())):
        return {name: canonical(split) for name, split in shards.items()}
    whole = {name: canonical(match[1]) for name in names if (match := _WHOLE.fullmatch(name))}
    said = {name: split for name in names if (split := _anywhere(name))}
    if len(said) == len(names):  # a split's own files are those named by nothing else, where there are any
        loose = {name: split for name, split in said.items() if split not in whole.values()} | whole
        if whole or len(set(loose.values())) > 1 or all(map(_AT_END.fullmatch, names)):
            return loose
    return whole


def half_named(names: Collection[str]) -> list[str]:
    """Names that end in a split's where others do not, so that it may be one and may be a word: corpus_train."""
    said = [name for name in names if _AT_END.fullmatch(name)]
    return said if len(said) < len(names) else []


def canonical(split: str) -> str:
    """One word for one split: `dev` is `validation`."""
    return WORDS.get(split.lower(), split)


def chosen_split(found: Iterable[str], wanted: str, where: object) -> str:
    """The wanted one of the splits found, or ALL. Raises InputError that names them where it is not among them."""
    names = sorted(set(found))
    for split in (*names, ALL):
        if split == wanted or canonical(split) == canonical(wanted):
            return split
    raise InputError(
        f"{where} has no split {wanted!r}: set corpus.split to one of {', '.join(map(repr, names))}, or all."
    )


def split_note(taken: str, found: Iterable[str]) -> str:
    """What is said of a corpus of several splits."""
    others = ", ".join(sorted(set(found) - {taken}))
    if taken == ALL:
        return f"splits {others} are read as one text"
    return f"split {taken}" + (f" is read, not {others} (corpus.split)" if others else "")


def _anywhere(name: str) -> str | None:
    """The one split that is said in the name, if any."""
    said = {canonical(word) for word in _ANYWHERE.findall(name)}
    return said.pop() if len(said) == 1 else None
