"""Preparation in many small shards, by workers that count their pieces and may die."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_corpus import small_config

from trainable.config import TrialConfig
from trainable.prepare import prepare_run
from trainable.teacher import build as teacher
from trainable.teacher.table import BigramTable
from trainable.text import gather, packing
from trainable.text.workers import Local

SHARD_ROWS = 50  # of 600 rows: 10 shards of training rows, 3 of validation rows


class Killed(BaseException):
    """Stands for the death of the driver."""


class Counting(Local):
    """Workers that count the pieces that are done, and may die after some of them."""

    def __init__(self, die_after: int = 1 << 30, how: Callable[[], Any] | None = None) -> None:
        self.done, self.die_after, self.how = 0, die_after, how

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            if self.done == self.die_after:
                if self.how is None:
                    raise Killed
                self.how()
            yield function(item)
            self.done += 1


def config_of(folder: Path, packing: str = "packed") -> TrialConfig:
    return small_config(folder, {"tokens.packing": packing, "teacher.smoothing": "kneser_ney"})


def checksums(config: TrialConfig, cache: Path, **options: Any) -> tuple[str, str, str]:
    data, _ = prepare_run(config, cache, **options)
    assert isinstance(data.table, BigramTable)
    return data.train.checksum, data.eval.checksum, data.table.checksum


def cut_gathering(patch: pytest.MonkeyPatch, fan_in: int = 3) -> None:
    """Make merges with few inputs, stretches with few tokens, and reads of few rows."""
    small = {"FAN_IN": fan_in, "PIECE_TOKENS": 40, "STRETCH_TOKENS": 100, "READ_ROWS": 7, "SLICE_TOKENS": 64}
    for name, value in small.items():
        patch.setattr(gather, name, value)


def cut_small(patch: pytest.MonkeyPatch, rows: int = SHARD_ROWS) -> None:
    """Make many shards of each packing, many pieces to count, and several levels of many stretches to gather."""
    patch.setattr(packing, "SHARD_ROWS", rows)
    patch.setattr(packing, "SHARD_BYTES", 4000)
    cut_gathering(patch)
    patch.setattr(teacher, "CHUNK_TOKENS", 500)
