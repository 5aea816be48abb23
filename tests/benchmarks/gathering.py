"""Reads, seeks and bytes of gathering, as the number of shards of a corpus grows: counted, not timed.

    python tests/benchmarks/gathering.py [--shards 1_000 10_000 100_000 300_000]

Shards are made up while they are read (tests/support/made_shards.py). Each has 1,024 tokens in 64 rows; a real one has
about a million tokens. A piece is an eighth of a made-up shard; it is a thirtieth of a real one. Runs and result are
real files in a folder that is thrown away, and the result is checked. The last column has the reads of one level of
2,048 stretches, as in an older version: each shard is read in each stretch, from three files.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
from made_shards import MadeShards

from trainable.text import gather

SMALL = {"PIECE_TOKENS": 256, "STRETCH_TOKENS": 1, "READ_ROWS": 64}
ROWS, TOKENS = 64, 16
STRETCHES_BEFORE, FILES_BEFORE = 2048, 3


def show(shards: int) -> None:
    """Gather that many shards, check the result, and print a line of the table."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        made = MadeShards(Path(folder), shards, ROWS, TOKENS)
        made.install(patch)
        for name, value in SMALL.items():
            patch.setattr(gather, name, value)
        made.gathered(Path(folder) / "all")
        assert made.is_right(Path(folder) / "all"), "the order is not that of use"
    reads, nbytes, whole = made.reads[gather.STREAM_FILE], made.nbytes[gather.STREAM_FILE], made.total * TOKENS * 2
    print(
        f"{shards:,} | {gather.levels(shards)} | {reads:,} | {reads / shards:.1f} | {nbytes / reads:,.0f} | "
        f"{nbytes / whole:.2f} | {made.reads.total() / shards:.1f} | {shards * STRETCHES_BEFORE * FILES_BEFORE:,}",
        flush=True,
    )


def main() -> None:
    """Print a line for each number of shards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[1_000, 10_000, 100_000, 300_000])
    arguments = parser.parse_args()
    of_tokens = "reads of tokens | of them of a shard | bytes each | times all bytes"
    print(f"shards | levels | {of_tokens} | all reads of a shard | reads in one level (computed)")
    for shards in arguments.shards:
        show(shards)


if __name__ == "__main__":
    main()
