"""Memory that each further trial on a node adds to one copy of teacher's table and token blocks: PSS, not RSS.

    python tests/benchmarks/trial_memory.py [--repeats 3] [--only ngrams] [--order 3] [--vocab 32_000] [--corpus PATH]

Real trials run on 2 CPUs (`make_trainable`, Ray's object store, guided steps and evaluations of `tiny`). One case has a
synthesised bigram table of 100 MB and blocks of 500 MB, with 1, 2 and 4 trials at once. The other has the n-grams of
all rows of the corpus and the blocks of all its tokens, with 1 and 2 trials at once. All trials have reported twice
when memory is read. The same is done with a table and blocks of a few KB: the difference is due to the data.

Memory is the PSS of the object store's mapping, summed over all processes that map it, plus the anonymous PSS of the
workers, where private copies would be. The sum includes driver and raylet: without them the first trial would be
charged with a share of their pages. Left out are the libraries' files, and a worker's page tables (2 bytes in 1,000, in
no PSS). Memory that a worker has freed is given back to the system first: it varies by 30 MiB from run to run.
"""

import argparse
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import ray
from counting import prepared
from ray import tune
from record import Row, compare, keep
from student import default_corpus

from sweeps.engine.cluster.ray_start import Machine, start_ray
from sweeps.engine.settings import TINY
from sweeps.engine.specs.pairs import control_plan, paired_plan
from trainable import names
from trainable.config import TrialConfig, override
from trainable.plan import Needs, data_key, table_key
from trainable.record.files import write_json
from trainable.record.ledger import append_row
from trainable.shared_data import checksums
from trainable.student.allocator import return_freed_memory
from trainable.teacher.kneser_ney import estimate_ngrams
from trainable.teacher.ngram_counts import count_ngrams
from trainable.teacher.ngram_table import NgramTable
from trainable.teacher.settings import ORDERS
from trainable.teacher.table import BigramTable
from trainable.teacher.teacher import Table
from trainable.text.blocks import TokenBlocks
from trainable.text.workers import own_cores
from trainable.trial import make_trainable

MB, MIB = 10**6, 2**20
VOCABULARY, CONTEXT, CPUS = 8192, 128, 2
TABLE_MB, BLOCKS_MB = 100, 500
FEW_BLOCKS = 128  # of small data
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


@dataclass(frozen=True, kw_only=True)
class Data:
    """Data that trials share: the teacher's table and the training blocks."""

    table: Table
    blocks: TokenBlocks

    @property
    def mib(self) -> float:
        return (self.table.nbytes + self.blocks.stream_N.nbytes) / MIB


@dataclass(frozen=True, kw_only=True)
class Case:
    """Trials that share one kind of table, and a small version of the data, whose memory is subtracted."""

    data: str  # what a row calls the table and the blocks
    base: TrialConfig
    large: Data
    small: Data


class Memory(NamedTuple):
    """MiB of all trials at once."""

    shared: float  # the object store's mapping, each page once
    private: float  # anonymous, in the workers

    @property
    def total(self) -> float:
        return self.shared + self.private


def table_of(megabytes: float) -> BigramTable:
    """A bigram table of the given size, with rows of equal length; 6 bytes a bigram."""
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
    """Blocks of random tokens of the given size, 2 bytes a token; at least 128 blocks."""
    tokens = max(int(megabytes * MB / 2), FEW_BLOCKS * CONTEXT)
    stream_N = np.random.default_rng(0).integers(0, VOCABULARY, tokens, np.uint16)
    ids_BxT = stream_N[: tokens // CONTEXT * CONTEXT].reshape(-1, CONTEXT)
    return TokenBlocks(
        ids_BxT, stream_N, None, 0, None, VOCABULARY, 1, 0, "f", sha256(stream_N.data).hexdigest(), Path()
    )


def trie_of(blocks: TokenBlocks, order: int) -> NgramTable:
    """The n-grams of all tokens of the blocks."""
    eos_id, threads = blocks.eos_id, own_cores()
    counts = count_ngrams(blocks.stream_N, blocks.vocab_size, order, eos_id=eos_id, threads=threads)
    return estimate_ngrams(counts, tokenizer_fingerprint="counted", threads=threads)


def few_of(blocks: TokenBlocks) -> TokenBlocks:
    """Only the first blocks."""
    stream_N = np.array(blocks.stream_N[: FEW_BLOCKS * CONTEXT])
    checksum = sha256(stream_N.data).hexdigest()
    return replace(blocks, stream_N=stream_N, ids_BxT=stream_N.reshape(-1, CONTEXT), checksum=checksum)


def bigram_case() -> Case:
    """A synthesised bigram table and blocks of random tokens."""
    large, small = (
        Data(table=table_of(table_mb), blocks=blocks_of(blocks_mb))
        for table_mb, blocks_mb in ((TABLE_MB, BLOCKS_MB), (0, 0))
    )
    return Case(data="table + blocks", base=BASE, large=large, small=small)


def ngram_case(order: int, source: str, vocabulary: int) -> Case:
    """The n-grams of a whole corpus and the blocks of all its tokens; small data: those of its first blocks."""
    blocks = prepared(source, vocabulary, CONTEXT)
    large, small = (Data(table=trie_of(some, order), blocks=some) for some in (blocks, few_of(blocks)))
    ngrams = sum(large.table.facts["ngrams"]) / 1e6
    teacher = {"teacher.kind": "ngram", "teacher.order": order, "teacher.smoothing": "modified_kneser_ney"}
    return Case(
        data=f"n-grams of order {order} (V {blocks.vocab_size:,}, {ngrams:.1f} M in all) + blocks",
        base=override(BASE, teacher),
        large=large,
        small=small,
    )


class MeasureOnce(tune.Stopper):  # type: ignore[misc]
    """Read the memory when every trial has reported twice (data checked, trained, evaluated), then end all trials.

    Tune calls this in the driver, and a trial's report waits for the driver: a moment later all trials stand still.
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
    """PSS of the object store over all processes, and the private memory of the workers."""
    store = {name for name, _ in mappings(os.getpid()) if "plasma" in name}  # its files, with their inodes
    shared = sum(pss for pid in processes() for name, pss in mappings(pid) if name in store)
    private = sum(anonymous(pid) for pid in workers)
    return Memory(shared / 1024, private / 1024)


def processes() -> list[int]:
    """Ids of all processes whose mappings this process may read."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if os.access(path / "maps", os.R_OK)]


def anonymous(pid: int) -> int:
    """PSS in KiB of the memory that a process has allocated itself."""
    match = re.search(r"^Pss_Anon:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert match is not None, "smaps_rollup has no Pss_Anon: Linux 5.4 or later is needed"
    return int(match[1])


def mappings(pid: int) -> Iterator[tuple[str, int]]:
    """("inode path", PSS in KiB) of each mapping of a process; none if the process is gone or not ours."""
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


def trimmed(trainable: Any) -> Any:
    """The same trainable, in a process that gives freed memory back all the time: free holes of a heap vary by MiB."""

    class Trimmed(trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            threading.Thread(target=trim_all_the_time, daemon=True).start()
            super().setup(config)

    return Trimmed


def trim_all_the_time() -> None:
    """Give freed memory back to the system, often enough for a standstill."""
    while True:
        return_freed_memory()
        time.sleep(STANDSTILL_SECONDS / 4)


def run(trials: int, case: Case, data: Data, folder: Path) -> Memory:
    """Train that many trials at once and read their memory."""
    write_json(folder / names.RUN_FILE, {})
    min_weights = [i / 10 for i in range(trials)]
    guided = {"teacher.schedule": "linear", "teacher.steps": STEPS}
    plans = [
        paired_plan(f"min {weight}", case.base, guided | {"teacher.min_weight": weight}, names.SEARCH)
        for weight in min_weights
    ]
    for step in range(0, STEPS + 1, EVERY):  # their control, made up
        ledger = folder / names.TRIALS_FOLDER / control_plan(case.base).name / names.LEDGER_FILE
        append_row(ledger, {names.STEP: step, names.EVAL_LOSS: 10.0})
    by_key = {data_key(case.base): (data.blocks, case.small.blocks)}
    tables = {table_key(case.base): data.table}
    sums = checksums(by_key, tables)
    by_name = {plan.name: plan.to_dict() for plan in plans}
    measure = MeasureOnce(trials)
    tune.Tuner(
        trimmed(make_trainable(str(folder), by_key, tables, Needs(cpus=CPUS / max(trials, CPUS)))),
        param_space={
            "name": tune.grid_search(list(by_name)),
            "plan": tune.sample_from(lambda spec: by_name[spec.config.name]),
            "checksums": sums,
        },
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), stop=measure, verbose=0),
    ).fit()
    assert measure.memory is not None, "no memory was read: a trial failed before its second report"
    return measure.memory


def due_to_data(trials: int, case: Case) -> Memory:
    """Memory that the data cost that many trials: large data minus small data, each in a separate Ray."""
    read = []
    for data in (case.large, case.small):
        start_ray(Machine(cpus=CPUS))  # a used store keeps the pages of what was in it
        with tempfile.TemporaryDirectory() as folder:
            read.append(run(trials, case, data, Path(folder)))
        ray.shutdown()
    large, small = read
    print(f"{trials} trials: {large} with the data, {small} without", flush=True)
    return Memory(large.shared - small.shared, large.private - small.private)


def rows_of(costs: dict[int, list[Memory]], case: Case) -> list[Row]:
    """Rows: memory of one trial's data, memory that each further trial adds, and the private part of it."""
    sizes = [case.large.mib] * len(costs[1])
    rows = [compare(f"data of 1 trial, of {case.data}", [m.total for m in costs[1]], sizes, "MiB")]
    for trials in sorted(costs)[1:]:
        further = trials - 1
        pairs = list(zip(costs[trials], costs[1], strict=True))
        added = [(many.total - one.total) / further for many, one in pairs]
        private = [(many.private - one.private) / further for many, one in pairs]
        each = f"each further of {trials} trials, of {case.data}"
        rows.append(compare(each, added, sizes, "MiB", at_most=0.02))
        rows.append(compare(f"  private to the workers: {each}", private, sizes, "MiB"))
    return rows


def measured(case: Case, at_once: Sequence[int], repeats: int) -> list[Row]:
    """Measure each number of trials in turn."""
    costs: dict[int, list[Memory]] = {trials: [] for trials in at_once}
    for _ in range(repeats):
        for trials, of_trials in costs.items():
            of_trials.append(due_to_data(trials, case))
    private = median(m.private for m in costs[1])
    print(f"{case.data}: {case.large.mib:.0f} MiB; private, median of 1 trial: {private:.1f} MiB")
    return rows_of(costs, case)


def main() -> None:
    """Measure both tables, or one of them, and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    orders = range(ORDERS[0], ORDERS[1] + 1)
    parser.add_argument("--repeats", type=int, default=3, help="of all measurements (3)")
    parser.add_argument("--only", choices=("bigrams", "ngrams"), default=None, help="one part (both)")
    parser.add_argument("--order", type=int, choices=orders, default=3, help="of the n-grams (3)")
    parser.add_argument("--vocab", type=int, default=32_000, help="tokens in the vocabulary of the n-grams (32,000)")
    parser.add_argument("--corpus", default=default_corpus(), help="of the n-grams: a file (the books, else built in)")
    options = parser.parse_args()
    rows: list[Row] = []
    if options.only != "ngrams":
        rows += measured(bigram_case(), (1, 2, 4), options.repeats)
    if options.only != "bigrams":
        rows += measured(ngram_case(options.order, options.corpus, options.vocab), (1, 2), options.repeats)
    keep("trial_memory", rows, part=options.only is not None)


if __name__ == "__main__":
    main()
