"""Gathering: any shards, levels and stretches give the order of use, and reads do not get smaller with more shards."""

from pathlib import Path

import numpy as np
import pytest
from made_shards import DTYPES, MadeShards
from numpy.typing import NDArray
from shard_runs import cut_gathering

from trainable.text import gather as gathering
from trainable.text.gather import (
    FLAG,
    FLAGS_FILE,
    LENGTH,
    LENGTHS_FILE,
    POSITIONS_FILE,
    STREAM_FILE,
    gather,
    levels,
)

Rows = list[tuple[NDArray[np.uint16], int]]  # tokens and flag, in the order of use


def shards_of(folder: Path, count: int, rows: int) -> tuple[list[Path], Rows]:
    """Write shards of rows with different lengths: some rows have no token, one has more tokens than a slice."""
    random = np.random.default_rng(count)
    lengths = random.integers(0, 12, rows)
    lengths[rows // 2] = 500
    ordered: Rows = [
        (random.integers(0, 9999, length).astype(np.uint16), int(random.integers(0, 8))) for length in lengths
    ]
    paths = []
    for number, position_r in enumerate(np.array_split(random.permutation(rows), count)):
        position_r.sort()
        first = number * rows // count
        paths.append(folder / f"{first:012d}-{(number + 1) * rows // count:012d}")
        paths[-1].mkdir()
        ours = [ordered[position] for position in position_r]
        np.concatenate([np.zeros(0, np.uint16), *(ids for ids, _ in ours)]).tofile(paths[-1] / STREAM_FILE)
        np.array([len(ids) for ids, _ in ours], LENGTH).tofile(paths[-1] / LENGTHS_FILE)
        np.array([flag for _, flag in ours], FLAG).tofile(paths[-1] / FLAGS_FILE)
        position_r.astype(DTYPES.position).tofile(paths[-1] / POSITIONS_FILE)
    return paths, ordered


@pytest.mark.parametrize("fan_in", [2, 3, 7, 100])
@pytest.mark.parametrize(("count", "rows"), [(1, 5), (2, 300), (9, 300), (30, 301)])
def test_rows_follow_in_the_order_of_use_span_by_span_in_any_number_of_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fan_in: int, count: int, rows: int
) -> None:
    cut_gathering(monkeypatch, fan_in)
    shards, ordered = shards_of(tmp_path, count, rows)
    spans = [range(0, 3), range(3, 4), range(4, rows)]
    targets = [tmp_path / f"span{number}" for number in range(3)]
    gather(shards, spans, DTYPES, targets)
    for span, target in zip(spans, targets, strict=True):
        ours = ordered[span.start : span.stop]
        assert np.fromfile(target / STREAM_FILE, DTYPES.token).tolist() == [i for ids, _ in ours for i in ids]
        assert np.fromfile(target / LENGTHS_FILE, LENGTH).tolist() == [len(ids) for ids, _ in ours]
        assert np.fromfile(target / FLAGS_FILE, FLAG).tolist() == [flag for _, flag in ours]


def test_levels_are_added_to_keep_the_inputs_of_a_merge_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [levels(shards) for shards in (1, 2048, 2049, 2048**2, 2048**2 + 1)] == [1, 1, 2, 2, 3]
    assert gathering._group_size(1_100_000) == 1049, "merges of both levels have about equally many inputs"
    monkeypatch.setattr(gathering, "FAN_IN", 10)
    for shards in range(11, 3000, 7):
        assert 2 <= gathering._group_size(shards) <= 10


SMALL = {"PIECE_TOKENS": 64, "STRETCH_TOKENS": 1, "READ_ROWS": 8, "GROUP_ROWS": 1}


def reads_of_a_shard(folder: Path, shards: int, patch: pytest.MonkeyPatch, **changes: int) -> tuple[float, MadeShards]:
    """Gather all shards; return the reads of tokens per shard, those of runs included, and the shards."""
    made = MadeShards(folder, shards)
    made.install(patch)
    for name, value in {**SMALL, **changes}.items():
        patch.setattr(gathering, name, value)
    made.gathered(folder / "all")
    assert made.is_right(folder / "all")
    return made.reads[STREAM_FILE] / shards, made


def test_the_reads_per_shard_do_not_grow_with_the_number_of_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two levels the reads stay the same; with one level and stretches of a fixed size they grow."""
    sizes = (64, 256, 1024)
    counted: dict[str, list[float]] = {"one level": [], "two levels": []}
    for way, changes in (
        ("one level", {"FAN_IN": 1 << 30, "PIECE_TOKENS": 0, "STRETCH_TOKENS": 1 << 12}),
        ("two levels", {"FAN_IN": 32}),
    ):
        for shards in sizes:
            folder = tmp_path / f"{way} {shards}"
            folder.mkdir()
            reads, made = reads_of_a_shard(folder, shards, monkeypatch, **changes)
            counted[way].append(reads)
            times = 2 if way == "two levels" else 1
            assert made.nbytes[STREAM_FILE] == times * made.total * made.tokens * 2, "each token once in each level"
            assert made.nbytes[LENGTHS_FILE] == 2 * times * made.total * 4, "to cut stretches, and to order rows"
    # a shard counts as 16 rows x (16 + ROW_TOKENS) tokens, which are 8 pieces of 64 tokens in each level
    assert all(13 < reads <= 17 for reads in counted["two levels"])
    assert counted["one level"][1] > 1.5 * counted["one level"][0], "reads grow until each row is read by itself"


def test_memory_and_open_files_are_bounded_for_many_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stretches: list[int] = []
    files: list[int] = []
    in_order, read = gathering._in_order, np.fromfile
    monkeypatch.setattr(
        gathering, "_in_order", lambda ids_n, *rows: stretches.append(len(ids_n)) or in_order(ids_n, *rows)
    )

    def noted(*arguments: object, **named: object) -> object:
        files.append(open_files())
        return read(*arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "fromfile", noted)
    before = open_files()
    reads_of_a_shard(tmp_path, 600, monkeypatch, FAN_IN=32)
    assert max(stretches) <= 32 * 64 + 16, "the tokens of a stretch and of its last group"
    assert max(files) <= before + 5


def open_files() -> int:
    """Number of open files of this process, and one for the folder that lists them; 0 if there is no such folder."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_whole_runs_are_kept_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_gathering(monkeypatch, fan_in=4)
    shards, ordered = shards_of(tmp_path, 16, 200)
    made: list[Path] = []
    build = gathering.build_folder

    def die(folder: Path, fill: object) -> object:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(folder)
        return build(folder, fill)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(gathering, "build_folder", die)
        with pytest.raises(KeyboardInterrupt):
            gather(shards, [range(200)], DTYPES, [tmp_path / "all"])
        (made[0] / STREAM_FILE).write_bytes(b"damaged")
        first, *_ = made
        made.clear()
        patch.setattr(gathering, "build_folder", lambda folder, fill: made.append(folder) or build(folder, fill))
        gather(shards, [range(200)], DTYPES, [tmp_path / "all"])
    assert len(made) == 3 and first in made, "two runs were not begun, one was damaged"
    assert np.fromfile(tmp_path / "all" / STREAM_FILE, DTYPES.token).tolist() == [i for ids, _ in ordered for i in ids]
