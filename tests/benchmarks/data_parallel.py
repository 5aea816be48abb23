"""A trial with two workers against one with one worker: tokens a second, and the difference of their validation losses.

    python tests/benchmarks/data_parallel.py [--corpus PATH] [--repeats 7]

Both train the same guided trial for 50 steps with the same global batch. Two workers run under Ray Train, each with one
thread on one core; gloo sums the gradients. The rates leave out the start of the workers, which is paid once a trial:
it has a row of its own, against the seconds of the whole trial.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import ray
import torch
from record import Row, compare, keep
from student import config_of, default_corpus

from sweeps.engine.cluster.ray_start import Machine, start_ray
from trainable import names
from trainable.config import TrialConfig
from trainable.data_parallel import train_together
from trainable.plan import Needs, data_key, table_key
from trainable.prepare import prepare_run
from trainable.record.run_files import RunFiles
from trainable.shared_data import checksums
from trainable.student.run_data import RunData
from trainable.student.train import Report, train
from trainable.trial import read_shared

STEPS = 50
CASES = {  # what is summed at each step grows with the parameters, what is computed also with the tokens
    "tiny, V 8,192, 4 k tokens a step": {"tokens__tokenizer": "train:8192", "loop__batch_blocks": 32},
    "tiny, V 8,192, 16 k tokens a step": {"tokens__tokenizer": "train:8192", "loop__batch_blocks": 128},
}
GUIDED = {
    "teacher__schedule": "linear",
    "teacher__steps": 40,
    "loop__steps": STEPS,
    "loop__eval_every": STEPS,
    "loop__checkpoint_every": STEPS,
}


def alone(config: TrialConfig, data: RunData) -> Report:
    """The last report of one process with one thread."""
    reports: list[Report] = []
    torch.set_num_threads(1)
    train(config, data, reports.append)
    return reports[-1]


def together(config: TrialConfig, read: Callable[[], RunData]) -> tuple[Report, float]:
    """The last report of two workers, and the seconds of the whole trial."""
    reports: list[Report] = []
    began = time.perf_counter()
    with TemporaryDirectory() as folder:
        files = RunFiles(Path(folder))
        train_together(config, read, reports.append, files, names.CHECKPOINT_FILE, Needs(workers=2))
    return reports[-1], time.perf_counter() - began


def case_rows(case: str, config: TrialConfig, repeats: int) -> list[Row]:
    """Rows of rates, of losses, and of the seconds of starting workers."""
    data, _ = prepare_run(config)
    assert data.table is not None
    blocks, tables = {data_key(config): (data.train, data.eval)}, {table_key(config): data.table}
    read = partial(read_shared, [ray.put((blocks, tables))], config, checksums(blocks, tables))
    both = [(alone(config, data), together(config, read)) for _ in range(repeats)]
    rates = [
        [report[names.TOKENS] / report[names.TRAIN_SECONDS] for report in reports]
        for reports in ([two for _, (two, _) in both], [one for one, _ in both])
    ]
    apart = max(abs(one[names.EVAL_LOSS] - two[names.EVAL_LOSS]) for one, (two, _) in both)
    losses = [two[names.EVAL_LOSS] for _, (two, _) in both], [one[names.EVAL_LOSS] for one, _ in both]
    busy = [two[names.TRAIN_SECONDS] + two[names.EVAL_SECONDS] for _, (two, _) in both]
    whole = [seconds for _, (_, seconds) in both]
    return [
        compare(f"{case}: two workers against one", *rates, "tokens/s"),
        compare(f"{case}: validation loss after {STEPS} steps, at most {apart:.1e} apart", *losses, "nats"),
        compare(
            f"{case}: starting and ending two workers, of {STEPS} steps",
            [all_ - work for all_, work in zip(whole, busy, strict=True)],
            whole,
            "s",
        ),
    ]


def main() -> None:
    """Run all cases and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default=default_corpus(), help="a parquet or text file (the books, else built in)")
    parser.add_argument("--repeats", type=int, default=7, help="pairs a case (7)")
    arguments = parser.parse_args()
    start_ray(Machine(cpus=2))
    rows = []
    for case, changes in CASES.items():
        config = config_of(arguments.corpus, corpus__train_rows=100_000, **changes, **GUIDED)
        rows += case_rows(case, config, arguments.repeats)
    ray.shutdown()
    keep("data_parallel", rows)


if __name__ == "__main__":
    main()
