"""GuidedTrainer against transformers' Trainer and against this project's loop: time of a step, and peak memory.

    pip install -e ".[hf]" && python tests/benchmarks/guided_trainer.py [--repeats 7] [--threads 1] [--smoke-test]

Llama, shape of the batches, AdamW (fused), clipping and precision are the same in all; data are in memory; logging,
saving and evaluation are off. Two measurements take turns. "Teacher's share" is GuidedTrainer with a teacher against
GuidedTrainer without one. Trainer's own loss makes all logits, so GuidedTrainer may need less time and memory.
"""

import argparse
import logging
import multiprocessing
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from loop import WARM_UP, now, student_model
from record import Row, alternate, compare, keep
from student import Student, config_of, default_corpus
from throughput import tokens_per_step
from transformers import Trainer, TrainerCallback, TrainingArguments

from trainable.config import TeacherConfig, TrialConfig
from trainable.loops.guided_trainer import GuidedTrainer
from trainable.prepare import prepare_run
from trainable.student.memory import PeakMemory
from trainable.student.run_data import RunData

TAUGHT = TeacherConfig(schedule="linear", steps=1_000_000)  # a weight of nearly 1 in all steps measured


def seconds_of(way: str, config: TrialConfig, data: RunData, steps: int) -> float:
    """Seconds of a step."""
    if way == "loop":
        student = Student(config, data)
        return sum([student.guided() for _ in range(WARM_UP + steps)][WARM_UP:]) / steps
    loop, clock = config.loop, Clock()
    rows = [{"input_ids": row, "labels": row} for row in torch.from_numpy(data.train.ids_BxT[:4096].astype("int64"))]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=WARM_UP + steps,
            per_device_train_batch_size=loop.batch_blocks,
            gradient_accumulation_steps=loop.accumulation,
            learning_rate=config.optimizer.lr,
            weight_decay=config.optimizer.weight_decay,
            max_grad_norm=config.optimizer.clip_norm,
            bf16=loop.precision == "bfloat16",
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        words: dict[str, Any] = {"model": student_model(config, data), "args": arguments, "train_dataset": rows}
        if way == "Trainer":
            trainer = Trainer(**words, callbacks=[clock])
        else:
            schedule = TAUGHT if way == "guided" else TeacherConfig()
            trainer = GuidedTrainer(**words, callbacks=[clock], schedule=schedule, teacher=data.table)
        trainer.train()
    return (clock.times[-1] - clock.times[WARM_UP - 1]) / steps


class Clock(TrainerCallback):
    """The time at the end of each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time after the optimizer's step."""
        self.times.append(now())


def peak_of(way: str, config: TrialConfig, threads: int) -> float:
    """Peak MiB of a separate process that trains a few steps."""
    torch.set_num_threads(threads)
    data, _ = prepare_run(config)
    memory = PeakMemory(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    seconds_of(way, config, data, 2)
    return memory.mib()


def cases(smoke_test: bool) -> Iterator[tuple[str, TrialConfig]]:
    """Shapes of a laptop, or a small version of one of them."""
    shapes = [(1024, 1, 4, 2)] if smoke_test else [(4096, 1, 8, 1), (8192, 1, 32, 1), (8192, 4, 8, 4)]
    corpus = "builtin" if smoke_test else default_corpus()
    for vocabulary, layers, blocks, accumulation in shapes:
        config = config_of(
            corpus,
            corpus__train_rows=2000 if smoke_test else None if corpus == "builtin" else 100_000,
            tokens__tokenizer=f"train:{vocabulary}",
            model__layers=layers,
            loop__batch_blocks=blocks,
            loop__accumulation=accumulation,
            teacher__smoothing="modified_kneser_ney",
        )
        plural = "s" * (layers > 1)
        yield f"tiny, V {vocabulary}, {layers} layer{plural}, {accumulation} x {blocks} x 128", config


def rows_of(name: str, config: TrialConfig, repeats: int, threads: int) -> Iterator[Row]:
    """Rows of a case: seconds of a step, and peak memory."""
    data, _ = prepare_run(config)
    steps = max(2, 16_384 // tokens_per_step(config))
    for what, way, rival, limit in (
        ("teacher's share: GuidedTrainer with / without", "guided", "no teacher", 1.15),
        ("GuidedTrainer / Trainer", "guided", "Trainer", 1.15),
        ("GuidedTrainer / our guided loop", "guided", "loop", None),
    ):
        pairs = alternate(
            lambda way=way: seconds_of(way, config, data, steps),  # type: ignore[misc]
            lambda rival=rival: seconds_of(rival, config, data, steps),  # type: ignore[misc]
            repeats,
        )
        yield compare(f"{what}: {name}", *pairs, "s a step", at_most=limit)
    context = multiprocessing.get_context("spawn")

    def peak(way: str) -> float:
        with context.Pool(1) as pool:
            return pool.apply(peak_of, (way, config, threads))

    for rival in ("Trainer", "no teacher"):
        pairs = alternate(lambda: peak("guided"), lambda rival=rival: peak(rival), min(repeats, 3))  # type: ignore[misc]
        yield compare(f"peak memory, GuidedTrainer / {rival}: {name}", *pairs, "MiB", at_most=1.1)


def main() -> None:
    """Run all cases and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="pairs a case (7)")
    parser.add_argument("--threads", type=int, default=1, help="threads (1, a trial's share)")
    parser.add_argument("--smoke-test", action="store_true", help="one small case")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    rows: list[Row] = []
    for name, config in cases(options.smoke_test):
        for row in rows_of(name, config, options.repeats, options.threads):
            rows.append(row)
            print(f"{row.case}: {row.ratio:.3f}", flush=True)
    keep("guided_trainer", rows)


if __name__ == "__main__":
    main()
