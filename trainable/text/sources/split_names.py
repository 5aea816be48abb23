"""Find the split in the name of a file or folder: train, validation, test, or another name of numbered shards.

The words and their delimiters are those of `datasets` (data_files.py), so that a folder gives the rows that
`load_dataset` would take; "set" or "split" may follow a word (trainset). One rule is not that of `datasets`: a word
among others ("photo of a train.txt", "training_notes.parquet") names a split only if every name has such a word and
they differ. Otherwise a word in one title would leave out all other files.
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
_COUNT = r"(?:[-._ \d]|of|part|shard|chunk)*"  # number of a shard
_WHOLE = re.compile(f"({_WORD}){_SET}{_COUNT}", re.IGNORECASE)  # train, train-00000-of-00002, test_part_3
_AT_END = re.compile(rf".*[-._ \d]({_WORD}){_SET}{_COUNT}", re.IGNORECASE)  # wiki.train, c4-validation.00000-of-00008
_ANYWHERE = re.compile(rf"(?<![^-._ \d])({_WORD}){_SET}(?![^-._ \d])", re.IGNORECASE)  # train-v1.1, training_notes
_PARTITION = re.compile("split=(.+)", re.IGNORECASE)  # folders of a table that is partitioned by a column `split`
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}")  # of any split: train_sft-00000-of-00003


def splits_of(names: Collection[str]) -> dict[str, str]:
    """Return {name: split} for the names, without endings, that say a split; empty if they are not named by splits."""
    partitions = {name: canonical(match[1]) for name in names if (match := _PARTITION.fullmatch(name))}
    if len(partitions) == len(names):
        return partitions
    shards = {name: match[1] for name in names if (match := _SHARD.fullmatch(name))}
    if len(shards) == len(names) and len(set(shards.values())) > 1 and any(map(_anywhere, shards.values())):
        return {name: canonical(split) for name, split in shards.items()}
    whole = {name: canonical(match[1]) for name in names if (match := _WHOLE.fullmatch(name))}
    said = {name: split for name in names if (split := _anywhere(name))}
    if len(said) == len(names):  # if files are named by a split alone, no others belong to it
        loose = {name: split for name, split in said.items() if split not in whole.values()} | whole
        if whole or len(set(loose.values())) > 1 or all(map(_AT_END.fullmatch, names)):
            return loose
    return whole


def half_named(names: Collection[str]) -> list[str]:
    """Names that end with the name of a split while others do not (corpus_train): it may mean a split, or be a word."""
    said = [name for name in names if _AT_END.fullmatch(name)]
    return said if len(said) < len(names) else []


def canonical(split: str) -> str:
    """One word for one split: `dev` is `validation`."""
    return WORDS.get(split.lower(), split)


def chosen_split(found: Iterable[str], wanted: str, where: object) -> str:
    """Return the wanted split as it is called among those found, or ALL; else raise an InputError that lists them."""
    names = sorted(set(found))
    for split in (*names, ALL):
        if split == wanted or canonical(split) == canonical(wanted):
            return split
    raise InputError(
        f"{where} has no split {wanted!r}: set corpus.split to one of {', '.join(map(repr, names))}, or all."
    )


def split_note(taken: str, found: Iterable[str]) -> str:
    """Note to the user on a corpus of several splits: which are read."""
    others = ", ".join(sorted(set(found) - {taken}))
    if taken == ALL:
        return f"splits {others} are read as one text"
    return f"split {taken}" + (f" is read, not {others} (corpus.split)" if others else "")


def _anywhere(name: str) -> str | None:
    """Split that the name says; None if it says none, or several."""
    said = {canonical(word) for word in _ANYWHERE.findall(name)}
    return said.pop() if len(said) == 1 else None
