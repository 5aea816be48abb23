"""Preparing a run on a Ray cluster of one and of two workers, against one process: rows a second, the driver's share.

    python tests/benchmarks/preparation.py [--corpus PATH] [--rows 200_000] [--repeats 7]

The whole preparation of a run is timed (trainable/prepare.py): corpus, split, tokens, counts and the teacher's table,
into a cache that is thrown away. The tokenizer, V 32,000, exists already. The cluster is a real one on this machine: a
head without CPUs, where the driver runs, and nodes with one CPU each. The three ways take turns and must give the same
bits. The driver reads, sends, receives and gathers on the same cores as its workers, so two workers on two cores cannot
be twice as fast as one.
"""

import argparse
import os
import resource
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from record import Row, compare, keep
from student import default_corpus

from trainable.config import CorpusConfig, TrialConfig, override
from trainable.prepare import prepare_run
from trainable.record.cache import cache_folder
from trainable.text.corpus import BUILTIN, open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer.tokenizer import corpus_tokenizer
from trainable.text.workers import LOCAL, Workers

VOCABULARY = "train:32000"
WARM_ROWS = 20_000  # prepared first, so that all workers have started
WORKERS: Workers = LOCAL  # the workers of a child process


class Measured(NamedTuple):
    """Seconds of one preparation, and its result."""

    seconds: float
    driver_seconds: float  # of CPU time
    rows: int
    tokens: int
    checksums: tuple[str, str, str]


def start(nodes: int) -> None:
    """Start a cluster of that many nodes, or none; the first call in a child process."""
    global WORKERS
    if not nodes:
        return
    import ray
    from ray.cluster_utils import Cluster

    from sweeps.engine.cluster.ray_workers import RayWorkers

    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(nodes):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    WORKERS = RayWorkers()


def measure(config: TrialConfig) -> Measured:
    """Prepare once, in a child process."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), perf_counter()
    with TemporaryDirectory() as cache:
        data, _ = prepare_run(config, Path(cache), workers=WORKERS)
    seconds, after = perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    driver_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    blocks = (data.train, data.eval)
    assert data.table is not None
    return Measured(
        seconds,
        driver_seconds,
        sum(part.rows for part in blocks),
        sum(len(part.stream_N) for part in blocks),
        (data.train.checksum, data.eval.checksum, data.table.checksum),
    )


def cases(config: TrialConfig, warm: TrialConfig, repeats: int) -> list[Row]:
    """Rows of one process, one worker and two workers, measured in turn."""
    found: dict[int, list[Measured]] = {nodes: [] for nodes in (0, 1, 2)}
    with ExitStack() as stack:
        context = get_context("spawn")
        pools = {n: stack.enter_context(ProcessPoolExecutor(1, context, start, (n,))) for n in found}
        for pool in pools.values():
            pool.submit(measure, warm).result()
        for _ in range(repeats):
            for nodes, pool in pools.items():
                found[nodes].append(pool.submit(measure, config).result())
                print(f"{nodes} workers: {found[nodes][-1].seconds:.1f} s", flush=True)
    checksums = {measured.checksums for each in found.values() for measured in each}
    assert len(checksums) == 1, "the bits differ"
    rows = found[0][0].rows
    rates = {nodes: [rows / m.seconds / 1e3 for m in each] for nodes, each in found.items()}
    names = {0: "one process", 1: "1 worker", 2: "2 workers"}
    speed = [
        compare(f"{rows:,} rows: {names[a]} against {names[b]} ({repeats} repeats)", rates[a], rates[b], "k rows/s")
        for a, b in ((2, 1), (2, 0), (1, 0))
    ]
    drivers = {nodes: [m.driver_seconds / m.tokens * 1e6 for m in each] for nodes, each in found.items()}
    case = f"CPU time of the driver of 2 workers against one process; {median(drivers[2]):.3g} s per 1 M tokens"
    return [*speed, compare(case, drivers[2], drivers[0], "s per 1 M tokens")]


def main() -> None:
    """Run all cases and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default=default_corpus(), help="a parquet or text file (the books, else built in)")
    parser.add_argument("--rows", type=int, default=200_000, help="training rows; a tenth more validate (200,000)")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of the three ways (7)")
    arguments = parser.parse_args()
    if arguments.corpus == BUILTIN:
        print("the books are not here: built-in text, few rows; give --corpus for real figures.")
    corpus = open_corpus(CorpusConfig(source=arguments.corpus))
    split = split_rows(corpus.rows, CorpusConfig(source=arguments.corpus))
    tokenizer = corpus_tokenizer(VOCABULARY, corpus, split.train, cache_folder())
    rows = min(arguments.rows, len(split.train))
    with TemporaryDirectory() as folder:
        tokenizer.encoder.save(str(Path(folder) / "tokenizer.json"))
        settings = {
            "corpus.source": arguments.corpus,
            "tokens.tokenizer": folder,
            "tokens.context": 1024,
            "teacher.smoothing": "modified_kneser_ney",
        }
        config, warm = (
            override(TrialConfig(), settings | {"corpus.train_rows": n, "corpus.eval_rows": max(1, n // 10)})
            for n in (rows, min(rows, WARM_ROWS))
        )
        keep("preparation", cases(config, warm, arguments.repeats))


if __name__ == "__main__":
    main()
