"""Effect of bfloat16 against float32 on the final loss of a run, and on the time of a step.

    python tests/benchmarks/precision.py [--corpus books.parquet] [--seeds 5] [--steps 704] [--processes 1]
    python tests/benchmarks/precision.py --corpus builtin --small    # all of it at a small size; nothing is kept

The laptop's setting of the sceptic's study (sweeps/engine/protocol.py), its control and its bigram teacher, which fades
over 40 % of the run. Each arm runs on each seed in both precisions: the same initial weights, batches and validation
text. The mean difference of final losses is compared with the standard deviation over seeds of the final losses in
float32. Runs have one thread each, and --processes of them run at once. Times are of single steps of two students, in
turn, with one thread, after all runs.
"""

import argparse
import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.pool import Pool
from statistics import mean, stdev

import torch
from record import REPEATS, Row, alternate, compare, keep
from student import Student, default_corpus

from sweeps.engine.protocol import CONTROL, SCHEDULES, protocol_base
from sweeps.engine.study import StudyOptions
from trainable import names
from trainable.config import TrialConfig, override
from trainable.prepare import prepare_run
from trainable.student.run_data import RunData
from trainable.student.train import Report, train

LOW, FULL = "bfloat16", "float32"
LIMIT = 0.1  # of the standard deviation over seeds
SMALL_SEEDS = 2


def arms_of(corpus: str, steps: int | None, small: bool) -> dict[str, TrialConfig]:
    """The control and the bigram teacher, as the study sets them."""
    control = protocol_base(StudyOptions(corpus=corpus, smoke_test=small), steps, {})
    fading = max(1, round(SCHEDULES[0] * control.loop.steps))
    teacher = {"teacher.schedule": "linear", "teacher.steps": fading, "teacher.min_weight": 0.0}
    return {CONTROL: control, "bigram": override(control, teacher)}


def final_loss(config: TrialConfig) -> float:
    """Validation loss at the end of one run, in nats per token. It runs in a process of its own."""
    torch.set_num_threads(1)
    data, _ = prepare_run(config)
    reports: list[Report] = []
    train(config, data, reports.append)
    loss = float(reports[-1][names.EVAL_LOSS])
    print(f"{config.teacher.schedule}, seed {config.seed}, {config.loop.precision}: {loss:.4f}", flush=True)
    return loss


def final_losses(config: TrialConfig, seeds: int, pool: Pool) -> tuple[list[float], list[float]]:
    """Final losses (in bfloat16, in float32) on each seed."""
    runs = [
        override(config, {"loop.precision": precision, "seed": seed})
        for precision in (LOW, FULL)
        for seed in range(seeds)
    ]
    losses = pool.map(final_loss, runs, chunksize=1)
    return losses[:seeds], losses[seeds:]


def loss_row(arm: str, low: Sequence[float], full: Sequence[float]) -> Row:
    """The mean difference of final losses in both precisions, as a share of their standard deviation over seeds."""
    spread = stdev(full)
    differences = [a - b for a, b in zip(low, full, strict=True)]
    share = abs(mean(differences)) / spread
    return Row(
        case=f"{arm}: mean difference of final loss, {LOW} - {FULL}, of one sd over {len(full)} seeds",
        ours=mean(differences),
        against=spread,
        unit="nats per token",
        ratio=share,
        ratio_low=min(differences) / spread,
        ratio_high=max(differences) / spread,
        target=f"<= {LIMIT:g}",
        reached=share <= LIMIT,
    )


def time_row(arm: str, config: TrialConfig, data: RunData, repeats: int) -> Row:
    """The time of a step in bfloat16 against the time in float32."""
    low, full = (Student(override(config, {"loop.precision": precision}), data) for precision in (LOW, FULL))
    steps = (low.plain, full.plain) if arm == CONTROL else (low.guided, full.guided)
    for step in steps:
        step()  # a warm-up: it chooses kernels and allocates memory
    return compare(f"{arm}: a step, {LOW} / {FULL}", *alternate(*steps, repeats), "s")


def rows_of(arms: dict[str, TrialConfig], seeds: int, repeats: int, processes: int) -> Iterator[Row]:
    """Loss of each arm, then time of each arm."""
    data = {arm: prepare_run(config)[0] for arm, config in arms.items()}  # before the processes: they find it made
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for arm, config in arms.items():
            yield loss_row(arm, *final_losses(config, seeds, pool))
    for arm, config in arms.items():
        yield time_row(arm, config, data[arm], repeats)


def main() -> None:
    """Train all arms in both precisions, and keep the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default=default_corpus(), help="a file of rows, or builtin (the books)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each arm in each precision (5)")
    parser.add_argument("--steps", type=int, help="of a run (704)")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"pairs of steps ({REPEATS})")
    parser.add_argument("--processes", type=int, default=1, help="runs at once (1), for the losses")
    parser.add_argument("--small", action="store_true", help="12 steps on 2 seeds, shown and not kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    arms = arms_of(options.corpus, options.steps, options.small)
    if options.small:
        print(*rows_of(arms, SMALL_SEEDS, 2, options.processes), sep="\n")
    else:
        keep("precision", list(rows_of(arms, options.seeds, options.repeats, options.processes)))


if __name__ == "__main__":
    main()
