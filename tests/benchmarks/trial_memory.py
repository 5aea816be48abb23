"""What each further trial on a node adds in memory to one copy of the bigram table and the token blocks: PSS, not RSS.

    python tests/benchmarks/trial_memory.py [--repeats 3]

Real trials (`make_trainable`, Ray's object store, guided steps and evaluations of `tiny`) over a synthesised table of
100 MB and blocks of 500 MB, 1, 2 and 4 at once on 2 CPUs. All are past their second report when memory is read. Then
the same with a table and blocks of a few KB: what is left of the difference is due to the data. Memory is the PSS of
the object store's mapping, summed over all processes that map it (driver and raylet too, else the first trial would be
charged with a share of what is there anyway), plus the anonymous PSS of the workers, where copies of their own would
be. What is left out: the libraries' files, and a worker's page tables (2 bytes in 1,000, in no PSS).
"""

import argparse
import os
import re
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import ray
from ray import tune
from record import Row, compare, keep

from sweeps.engine.cluster.ray_start import Machine, start_ray
from sweeps.engine.settings import TINY
from sweeps.engine.specs.pairs import control_plan, paired_plan
from trainable import names
from trainable.config import override
from trainable.plan import Needs, data_key, table_key
from trainable.record.files import write_json
from trainable.record.ledger import append_row
from trainable.shared_data import checksums
from trainable.teacher.table import BigramTable
from trainable.text.blocks import TokenBlocks
from trainable.trial import make_trainable

MB, MIB = 10**6, 2**20
VOCABULARY, CONTEXT, CPUS = 8192, 128, 2
TABLE_MB, BLOCKS_MB = 100, 500
STEPS, EVERY = 400, 2
STANDSTILL_SECONDS = 2.0
BASE = override(
    TINY,
    {
        "tokens.context": CONTEXT,
        "loop.steps": STEPS,
        "loop.eval_every": EVERY,
        "loop.checkpoint_every": STEPS,
        "loop.batch_blocks": 1,  # a step's own memory is not the question
        "loop.eval_batch_blocks": 1,
        "loop.device": "cpu",
    },
)


class Memory(NamedTuple):
    """MiB of all trials at once."""

    shared: float  # the object store's mapping, each page once
    private: float  # anonymous, in the workers

    @property
    def total(self) -> float:
        return self.shared + self.private


def table_of(megabytes: float) -> BigramTable:
    """A bigram table of that size, with rows of equal length; 6 bytes a bigram."""
    row = max(1, int(megabytes * MB / 6 / VOCABULARY))
    columns = np.linspace(0, VOCABULARY - 1, row).astype(np.uint16)
    return BigramTable(
        indptr=np.arange(VOCABULARY + 1, dtype=np.int64) * row,
        indices=np.tile(columns, VOCABULARY),
        values=np.full(VOCABULARY * row, 1 / row, np.float32),
        backoff_V=np.zeros(VOCABULARY, np.float32),
        base_V=np.full(VOCABULARY, 1 / VOCABULARY, np.float32),
        vocab_size=VOCABULARY,
        smoothing="mle",
        strength=None,
        tokenizer_fingerprint="synthesised",
        counted_tokens=VOCABULARY * row,
        rows="student",
    )


def blocks_of(megabytes: float) -> TokenBlocks:
    """Blocks of random tokens of that size, 2 bytes each; 128 blocks at the least."""
    tokens = max(int(megabytes * MB / 2), 128 * CONTEXT)
    stream_N = np.random.default_rng(0).integers(0, VOCABULARY, tokens, np.uint16)
    ids_BxT = stream_N[: tokens // CONTEXT * CONTEXT].reshape(-1, CONTEXT)
    return TokenBlocks(
        ids_BxT, stream_N, None, 0, None, VOCABULARY, 1, 0, "f", sha256(stream_N.data).hexdigest(), Path()
    )


class MeasureOnce(tune.Stopper):  # type: ignore[misc]
    """Reads the memory when every trial has reported twice (data checked, trained, evaluated), then ends them all.

    Tune calls it in the driver, and a trial's report waits for the driver: a moment later all trials stand still.
    """

    def __init__(self, trials: int):
        self._trials, self._steps, self._pids = trials, dict[str, int](), dict[str, int]()
        self.memory: Memory | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._steps[trial_id], self._pids[trial_id] = result[names.STEP], result["pid"]
        if self.memory is None and sum(step >= EVERY for step in self._steps.values()) == self._trials:
            time.sleep(STANDSTILL_SECONDS)
            self.memory = memory_of(list(self._pids.values()))
        return self.memory is not None

    def stop_all(self) -> bool:
        return self.memory is not None


def memory_of(workers: list[int]) -> Memory:
    """The PSS of this Ray's object store, over all processes, and the private memory of the workers."""
    store = {name for name, _ in mappings(os.getpid()) if "plasma" in name}  # its files, with their inodes
    shared = sum(pss for pid in processes() for name, pss in mappings(pid) if name in store)
    private = sum(anonymous(pid) for pid in workers)
    return Memory(shared / 1024, private / 1024)


def processes() -> list[int]:
    """Ids of all processes whose mappings may be read here."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if os.access(path / "maps", os.R_OK)]


def anonymous(pid: int) -> int:
    """PSS in KiB of what a process has allocated itself."""
    match = re.search(r"^Pss_Anon:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert match is not None, "smaps_rollup has no Pss_Anon: Linux 5.4 or later is needed"
    return int(match[1])


def mappings(pid: int) -> Iterator[tuple[str, int]]:
    """("inode path", PSS in KiB) of each mapping of a process; none if it is gone or not ours."""
    try:
        lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    except OSError:
        return
    name = ""
    for line in lines:
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            name = " ".join(line.split()[4:])
        elif line.startswith("Pss:"):
            yield name, int(line.split()[1])


def run(trials: int, table: BigramTable, blocks: TokenBlocks, folder: Path) -> Memory:
    """Train that many trials at once and read their memory."""
    write_json(folder / names.RUN_FILE, {})
    floors = [i / 10 for i in range(trials)]
    guided = {"teacher.schedule": "linear", "teacher.steps": STEPS}
    plans = [
        paired_plan(f"floor {floor}", BASE, guided | {"teacher.min_weight": floor}, names.SEARCH) for floor in floors
    ]
    for step in range(0, STEPS + 1, EVERY):  # their control, made up
        ledger = folder / names.TRIALS_FOLDER / control_plan(BASE).name / names.LEDGER_FILE
        append_row(ledger, {names.STEP: step, names.EVAL_LOSS: 10.0})
    by_key, tables = {data_key(BASE): (blocks, blocks_of(0))}, {table_key(BASE): table}
    sums = checksums(by_key, tables)
    by_name = {plan.name: plan.to_dict() for plan in plans}
    measure = MeasureOnce(trials)
    tune.Tuner(
        make_trainable(str(folder), by_key, tables, Needs(cpus=CPUS / max(trials, CPUS))),
        param_space={
            "name": tune.grid_search(list(by_name)),
            "plan": tune.sample_from(lambda spec: by_name[spec.config.name]),
            "checksums": sums,
        },
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), stop=measure, verbose=0),
    ).fit()
    assert measure.memory is not None, "no memory was read: a trial failed before its second report"
    return measure.memory


def due_to_data(trials: int, big: tuple[BigramTable, TokenBlocks]) -> Memory:
    """What the data cost that many trials: the same with large and with tiny data, each in a Ray of its own."""
    read = []
    for table, blocks in (big, (table_of(0), blocks_of(0))):
        start_ray(Machine(cpus=CPUS))  # a used store keeps the pages of what was in it
        with tempfile.TemporaryDirectory() as folder:
            read.append(run(trials, table, blocks, Path(folder)))
        ray.shutdown()
    large, tiny = read
    print(f"{trials} trials: {large} with the data, {tiny} without", flush=True)
    return Memory(large.shared - tiny.shared, large.private - tiny.private)


def rows_of(costs: dict[int, list[Memory]], size: float) -> list[Row]:
    """Rows of what the data cost one trial, of what each further one adds, and of how much of that is private."""
    sizes = [size] * len(costs[1])
    rows = [compare("data of 1 trial, of table + blocks", [m.total for m in costs[1]], sizes, "MiB")]
    for trials in sorted(costs)[1:]:
        further = trials - 1
        pairs = list(zip(costs[trials], costs[1], strict=True))
        added = [(many.total - one.total) / further for many, one in pairs]
        private = [(many.private - one.private) / further for many, one in pairs]
        case = f"each further of {trials} trials, of table + blocks"
        rows.append(compare(case, added, sizes, "MiB", at_most=0.02))
        rows.append(compare("  of this private to the workers", private, sizes, "MiB"))
    return rows


def main() -> None:
    """Measure all numbers of trials in turn, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="of all measurements (3)")
    repeats = parser.parse_args().repeats
    big = table_of(TABLE_MB), blocks_of(BLOCKS_MB)
    size = (big[0].values.nbytes + big[0].indices.nbytes + big[0].indptr.nbytes + big[1].stream_N.nbytes) / MIB
    costs: dict[int, list[Memory]] = {1: [], 2: [], 4: []}
    for _ in range(repeats):
        for trials, measured in costs.items():
            measured.append(due_to_data(trials, big))
    print(f"table + blocks {size:.0f} MiB; private, median of 1 trial: {median(m.private for m in costs[1]):.1f} MiB")
    keep("trial_memory", rows_of(costs, size))


if __name__ == "__main__":
    main()
