"""Effect of bfloat16 against float32 on the final loss of a run, and on the time of a step.

    python tests/benchmarks/precision.py [--corpus books.parquet] [--seeds 5] [--steps 704] [--threads 1]
    python tests/benchmarks/precision.py --corpus builtin --small    # all of it at a small size; nothing is kept

The laptop's setting of the sceptic's study (sweeps/engine/protocol.py), its control and its bigram teacher, which fades
over 40 % of the run. Each arm runs on each seed in both precisions, one after the other: the same initial weights,
batches and validation text. The mean difference of final losses is compared with the standard deviation over seeds of
the final losses in float32. Times are of single steps of two students, in turn.
"""

import argparse
from collections.abc import Iterator, Sequence
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


def final_loss(config: TrialConfig, data: RunData, precision: str, seed: int) -> float:
    """Validation loss at the end of one run, in nats per token."""
    reports: list[Report] = []
    train(override(config, {"loop.precision": precision, "seed": seed}), data, reports.append)
    loss = float(reports[-1][names.EVAL_LOSS])
    print(f"{config.teacher.schedule}, seed {seed}, {precision}: {loss:.4f}", flush=True)
    return loss


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


def rows_of(arms: dict[str, TrialConfig], seeds: int, repeats: int) -> Iterator[Row]:
    """Loss and time of each arm."""
    for arm, config in arms.items():
        data, _ = prepare_run(config)
        losses = [[final_loss(config, data, precision, seed) for precision in (LOW, FULL)] for seed in range(seeds)]
        low, full = zip(*losses, strict=True)
        yield loss_row(arm, low, full)
        yield time_row(arm, config, data, repeats)


def main() -> None:
    """Train all arms in both precisions, and keep the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default=default_corpus(), help="a file of rows, or builtin (the books)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each arm in each precision (5)")
    parser.add_argument("--steps", type=int, help="of a run (704)")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"pairs of steps ({REPEATS})")
    parser.add_argument("--threads", type=int, default=1, help="threads (1, a trial's share)")
    parser.add_argument("--small", action="store_true", help="12 steps on 2 seeds, shown and not kept")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    arms = arms_of(options.corpus, options.steps, options.small)
    if options.small:
        print(*rows_of(arms, SMALL_SEEDS, 2), sep="\n")
    else:
        keep("precision", list(rows_of(arms, options.seeds, options.repeats)))


if __name__ == "__main__":
    main()
