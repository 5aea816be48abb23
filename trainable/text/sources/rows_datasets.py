"""Read rows with the `datasets` library: of a data set of the Hugging Face hub, or of a folder that it saved.

This module and hub.py need `datasets`, and only when such a source is asked for.
"""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainable.errors import InputError, require
from trainable.record.files import fingerprint
from trainable.text.sources.found import sha256_once
from trainable.text.sources.hub import SHORT_NAMES, hub_splits
from trainable.text.sources.rows import RowSource, checked_texts, require_text_column
from trainable.text.sources.split_names import ALL, TRAIN, chosen_split, split_note

SAVED_MARKS = ("state.json", "dataset_dict.json")  # what `save_to_disk` leaves in a folder


def open_hub(hub_id: str, revision: str | None, column: str, split: str) -> RowSource:
    """Open a split of a data set of the hub; `bookcorpus` stands for a copy of it that can be read.

    Raises InputError if the hub is out of reach or has no such data set, or if that lacks the split or the column.
    """
    hub_id = SHORT_NAMES.get(hub_id, hub_id)
    _require_datasets(hub_id)
    splits = hub_splits(hub_id, revision)
    taken = chosen_split(splits, split, hub_id)
    dataset = _of_split(splits, taken)
    # The library's fingerprint stands for commit, configuration and split, without reading gigabytes.
    source = _row_source(dataset, column, hub_id, lambda: fingerprint(["hub", hub_id, dataset._fingerprint]))
    return source._replace(split=taken, notes=(split_note(taken, splits),))


def open_saved(folder: Path, column: str, split: str) -> RowSource:
    """Open a folder that `save_to_disk` wrote: a data set, or one split of several."""
    _require_datasets(folder)
    loaded = _load_saved(folder)
    splits = sorted(loaded) if isinstance(loaded, dict) else []
    require(
        bool(splits) or split in (TRAIN, ALL),
        f"corpus.split is {split!r} but {folder} is one data set without splits: leave it out.",
    )
    taken = chosen_split(splits, split, folder) if splits else None
    dataset = _of_split(loaded, taken) if taken else loaded
    paths = [Path(file["filename"]) for file in dataset.cache_files]
    source = _row_source(dataset, column, folder, lambda: fingerprint(["saved", [sha256_once(path) for path in paths]]))
    return source._replace(split=taken, notes=(split_note(taken, splits),)) if taken else source


def _of_split(splits: dict[str, Any], taken: str) -> Any:
    from datasets import concatenate_datasets

    return concatenate_datasets([splits[name] for name in sorted(splits)]) if taken == ALL else splits[taken]


def _row_source(dataset: Any, column: str, where: object, digest: Callable[[], str]) -> RowSource:
    require_text_column([dataset.features.arrow_schema], column, [where])
    texts = dataset.select_columns([column]).with_format("arrow")

    def read(batch_rows: int) -> Iterator[pa.Array]:
        yield from checked_texts((table.column(0) for table in texts.iter(batch_rows)), where)

    return RowSource(len(dataset), digest, read)


def _load_saved(folder: Path) -> Any:
    """Load a data set, or a dict of data sets by split."""
    from datasets import load_from_disk

    try:
        return load_from_disk(str(folder))
    except Exception as error:  # Arrow, JSON and file errors alike
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(f"{folder} is not a whole saved data set ({reason}): save it again.") from error


def _require_datasets(where: object) -> None:
    found = importlib.util.find_spec("datasets") is not None  # importing it takes over a second
    require(found, f"{where} needs the datasets library: pip install datasets, or give a parquet, jsonl or text file.")
