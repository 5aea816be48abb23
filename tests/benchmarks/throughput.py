"""Plain training: this project's loop against transformers' Trainer and a bare PyTorch loop, in tokens a second.

    pip install accelerate && python tests/benchmarks/throughput.py [--repeats 7] [--threads 1] [--name throughput]
    python tests/benchmarks/throughput.py --precision bfloat16 --name throughput_bfloat16

All three train the same Llama with batches of the same shape, the same AdamW (fused), clipping and precision. Their
data are in memory. They log, save and evaluate nothing. "Ours" is the training loop's own step (loop.py). With
--precision bfloat16 a further row has Trainer as it comes, in float32.

The speed of a machine changes within seconds. So this project and its rival take turns, and a turn is as short as
possible:

- On a CPU a turn is one step. On a GPU it is 10 steps (loop.py).
- The bare loop: one turn of ours, one turn of the bare loop, and so on. Each model is built once.
- Trainer: Trainer.train() is called once. A callback runs at the end of its steps. The time since the callback last
  returned is the Trainer's turn, with the loading of its data. Then the callback takes a turn of ours, and returns.
- The first two steps of each loop do not count.

The turns are cut into groups of neighbouring turns, one group for each of --repeats. A group gives the tokens a second
of both, and so one ratio. A row has the median ratio, the lowest and the highest.

On a CPU the models are small. On a GPU the model is the published one, in bfloat16, and a row says which share of the
GPU's speed is used (model FLOP utilisation).
"""

import argparse
import logging
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from loop import DEVICE, STEPS_A_TURN, WARM_UP, now, our_loop, seconds_of, student_model
from record import Row, alternate, compare, keep
from student import config_of, default_corpus
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments

from sweeps.engine.settings import SMALL_LLAMA2
from trainable.config import TrialConfig, override
from trainable.prepare import prepare_run
from trainable.student.optimizer import make_optimizer
from trainable.student.precision import autocast_of
from trainable.student.run_data import RunData

PEAK = 989  # TFLOP/s: dense bfloat16 of an H100 or H200, by NVIDIA's data sheet
Seconds = tuple[list[float], list[float]]  # of our turns, and of the rival's


# --- the two rivals ---


def bare_loop(config: TrialConfig, data: RunData, total: int) -> Iterator[None]:
    """Take a step of the simplest loop for each item that is asked for: the model's own loss, backward, clip, step."""
    size = config.loop.batch_blocks
    model = student_model(config, data)
    optimizer = make_optimizer(model, config.optimizer)
    autocast = autocast_of(config.loop, DEVICE)
    number_N = np.arange(total * size) % len(data.train.ids_BxT)
    ids_NxT = torch.from_numpy(data.train.ids_BxT[number_N].astype("int64")).to(DEVICE)
    for first in range(0, len(ids_NxT), size):
        ids_BxT = ids_NxT[first : first + size]
        with autocast:
            loss = model(input_ids=ids_BxT, labels=ids_BxT, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield


def train_by_trainer(config: TrialConfig, data: RunData, total: int, callback: TrainerCallback) -> None:
    """Train by transformers' Trainer, with its own defaults for speed."""
    loop = config.loop
    rows = [{"input_ids": row, "labels": row} for row in torch.from_numpy(data.train.ids_BxT[:4096].astype("int64"))]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=total,
            per_device_train_batch_size=loop.batch_blocks,
            learning_rate=config.optimizer.lr,
            weight_decay=config.optimizer.weight_decay,
            max_grad_norm=config.optimizer.clip_norm,
            bf16=loop.precision == "bfloat16",
            use_cpu=DEVICE.type == "cpu",  # without this word Trainer refuses bfloat16 on a CPU
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        Trainer(model=student_model(config, data), args=arguments, train_dataset=rows, callbacks=[callback]).train()


# --- turns ---


def beside_bare_loop(config: TrialConfig, data: RunData, turns: int) -> Seconds:
    """A turn of ours, a turn of the bare loop, and so on."""
    total = WARM_UP + turns * STEPS_A_TURN
    ours, bare = our_loop(config, data, total), bare_loop(config, data, total)
    for loop in (ours, bare):
        seconds_of(loop, WARM_UP)
    return alternate(lambda: seconds_of(ours), lambda: seconds_of(bare), turns)


def beside_trainer(config: TrialConfig, data: RunData, turns: int, *, precision: str | None = None) -> Seconds:
    """A turn of Trainer, a turn of ours, and so on. precision: Trainer's, if not ours."""
    total = WARM_UP + turns * STEPS_A_TURN
    taken = TurnsBetween(our_loop(config, data, total))
    train_by_trainer(override(config, {"loop.precision": precision or config.loop.precision}), data, total, taken)
    return taken.ours, taken.trainers


class TurnsBetween(TrainerCallback):
    """A turn of ours after each turn of Trainer, and the seconds of both."""

    def __init__(self, loop: Iterator[None]) -> None:
        self.ours: list[float] = []
        self.trainers: list[float] = []
        self._loop = loop
        self._returned = 0.0  # when this callback last gave the time back to Trainer

    def on_step_end(self, _arguments: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Take our turn if Trainer's turn, or its warm-up, is over."""
        counted = state.global_step - WARM_UP
        if counted < 0 or counted % STEPS_A_TURN:
            return
        if counted == 0:
            seconds_of(self._loop, WARM_UP)
        else:
            self.trainers.append(now() - self._returned)
            self.ours.append(seconds_of(self._loop))
        self._returned = now()


# --- rows ---


def rates(seconds: list[float], tokens_a_turn: int, groups: int) -> list[float]:
    """Tokens a second of equal groups of neighbouring turns."""
    size = len(seconds) // groups
    return [size * tokens_a_turn / sum(seconds[first : first + size]) for first in range(0, len(seconds), size)]


def rows_of(name: str, config: TrialConfig, data: RunData, repeats: int) -> Iterator[Row]:
    """A row for each rival."""
    tokens = tokens_per_step(config)
    turns_a_group = 1 if DEVICE.type == "cuda" else max(2, 16_384 // tokens)
    rivals: list[tuple[str, Callable[[TrialConfig, RunData, int], Seconds], float]] = [
        ("Trainer", beside_trainer, 1.3),
        ("bare loop", beside_bare_loop, 1.0),
    ]
    if DEVICE.type == "cpu" and config.loop.precision == "bfloat16":
        rivals.append(("Trainer in float32", partial(beside_trainer, precision="float32"), 2.0))
    for rival, run, limit in rivals:
        ours, against = (
            rates(seconds, tokens * STEPS_A_TURN, repeats) for seconds in run(config, data, repeats * turns_a_group)
        )
        yield compare(f"ours / {rival}: {name}", ours, against, "tokens/s", at_least=limit)


def tokens_per_step(config: TrialConfig) -> int:
    """Positions that are trained on in a step; both the published way and ours count the tokens of a block."""
    return config.loop.batch_blocks * config.loop.accumulation * config.tokens.context


def cases(precision: str) -> Iterator[tuple[str, TrialConfig]]:
    """Laptop shapes in this precision, or the published one on a GPU."""
    if DEVICE.type == "cuda":
        for layers in (1, 6):
            changes = {"corpus.source": default_corpus(), "corpus.eval_rows": 200, "model.layers": layers}
            one = override(SMALL_LLAMA2, changes | {"loop.batch_blocks": 16, "loop.accumulation": 1})
            yield f"small-llama2, {layers} layer{'s' * (layers > 1)}, bfloat16, 16 x 1024", one
        return
    rows = None if default_corpus() == "builtin" else 100_000
    for vocabulary, layers, blocks in ((4096, 1, 8), (4096, 2, 32), (8192, 1, 32), (8192, 4, 8)):
        name = f"tiny, V {vocabulary}, {layers} layer{'s' * (layers > 1)}, {blocks} x 128"
        yield (
            f"{name}, bfloat16" if precision == "bfloat16" else name,
            config_of(
                default_corpus(),
                corpus__train_rows=rows,
                tokens__tokenizer=f"train:{vocabulary}",
                model__layers=layers,
                loop__batch_blocks=blocks,
                loop__precision=precision,
            ),
        )


def utilisation(name: str, config: TrialConfig, data: RunData, ours: Row) -> Row:
    """Model FLOP utilisation of our steps: 6 FLOP a parameter and token, and attention, against the GPU's peak."""
    model = student_model(config, data)
    parameters = sum(p.numel() for p in model.parameters()) - model.model.embed_tokens.weight.numel()
    attention = 12 * config.model.layers * model.config.hidden_size * config.tokens.context / 2
    teraflops = ours.ours * (6 * parameters + attention) / 1e12
    return compare(f"model FLOP utilisation: {name}", [teraflops], [PEAK], "TFLOP/s", at_least=0.4)


def main() -> None:
    """Run all cases and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="groups of turns a case (7), each with its ratio")
    parser.add_argument("--threads", type=int, default=1, help="threads (1, a trial's share)")
    parser.add_argument("--name", default="throughput", help="of the JSON file: one for each class of machine")
    precisions = ("float32", "bfloat16")
    parser.add_argument("--precision", choices=precisions, default="float32", help="on a CPU; a GPU runs bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    rows: list[Row] = []
    for name, config in cases(options.precision):
        data, _ = prepare_run(config)
        for row in rows_of(f"{name}, {options.threads} thread", config, data, options.repeats):
            rows.append(row)
            print(f"{row.case}: {row.ratio:.3f} ({row.ratio_low:.3f} to {row.ratio_high:.3f})", flush=True)
        if DEVICE.type == "cuda":
            rows.append(utilisation(name, config, data, rows[-1]))
    keep(options.name, rows)


if __name__ == "__main__":
    main()
