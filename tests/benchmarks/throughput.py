"""Plain training throughput: our loop against transformers' Trainer and a bare PyTorch loop. Tokens a second.

    pip install accelerate && python tests/benchmarks/throughput.py [--repeats 7] [--threads 1] [--name throughput]

Llama, shape of the batches, AdamW (fused), clipping and precision are the same in all three; data are in memory;
logging, saving and evaluation are off. The three take turns. On a GPU the published shape runs in bfloat16, and the
model FLOP utilisation is printed, too.
"""

import argparse
import logging
import tempfile
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import torch
from record import Row, alternate, compare, keep
from student import Student, config_of, default_corpus
from transformers import LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from sweeps.engine.settings import SMALL_LLAMA2
from trainable.config import TrialConfig, override
from trainable.prepare import prepare_run
from trainable.student.model import build_model
from trainable.student.precision import autocast_of
from trainable.student.train import RunData, make_optimizer

WARM_UP = 2  # steps that do not count: they allocate


def ours(config: TrialConfig, data: RunData, steps: int) -> float:
    """Tokens a second of the loop's own steps."""
    student = Student(config, data)
    seconds = [student.plain() for _ in range(WARM_UP + steps)][WARM_UP:]
    return steps * tokens_per_step(config) / sum(seconds)


def bare_loop(config: TrialConfig, data: RunData, steps: int) -> float:
    """Tokens a second of the simplest loop: the model's own loss, backward, clip, step."""
    model = student_model(config, data)
    optimizer = make_optimizer(model, config.optimizer)
    loop, device = config.loop, model.device
    ids_NxT = torch.from_numpy(data.train.ids_BxT[: (WARM_UP + steps) * loop.batch_blocks].astype("int64")).to(device)
    started = 0.0
    for step, ids_BxT in enumerate(ids_NxT.split(loop.batch_blocks)):
        if step == WARM_UP:
            started = now(device)
        with autocast_of(loop, device):
            loss = model(input_ids=ids_BxT, labels=ids_BxT, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return steps * tokens_per_step(config) / (now(device) - started)


def trainer(config: TrialConfig, data: RunData, steps: int) -> float:
    """Tokens a second of transformers' Trainer with its own defaults for speed."""
    loop = config.loop
    clock = Clock()
    rows = [{"input_ids": row, "labels": row} for row in torch.from_numpy(data.train.ids_BxT[:4096].astype("int64"))]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=WARM_UP + steps,
            per_device_train_batch_size=loop.batch_blocks,
            learning_rate=config.optimizer.lr,
            weight_decay=config.optimizer.weight_decay,
            max_grad_norm=config.optimizer.clip_norm,
            bf16=loop.precision == "bfloat16",
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        Trainer(model=student_model(config, data), args=arguments, train_dataset=rows, callbacks=[clock]).train()
    return steps * tokens_per_step(config) / (clock.times[-1] - clock.times[WARM_UP - 1])


class Clock(TrainerCallback):
    """The time at the end of each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time after the optimizer's step."""
        self.times.append(now(torch.device("cuda" if torch.cuda.is_available() else "cpu")))


def student_model(config: TrialConfig, data: RunData) -> LlamaForCausalLM:
    """The same initial model for all."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_model(config.model, vocab_size=data.train.vocab_size, context=config.tokens.context, seed=0)
    return model.to(device)  # type: ignore[arg-type,return-value]


def now(device: torch.device) -> float:
    """Seconds on the clock, after the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def tokens_per_step(config: TrialConfig) -> int:
    """Positions that are trained on in a step; both the published way and ours count the tokens of a block."""
    return config.loop.batch_blocks * config.loop.accumulation * config.tokens.context


def cases() -> Iterator[tuple[str, TrialConfig]]:
    """Laptop shapes, or the published one on a GPU."""
    if torch.cuda.is_available():
        for layers in (1, 6):
            changes = {"corpus.source": default_corpus(), "corpus.eval_rows": 20, "model.layers": layers}
            one = override(SMALL_LLAMA2, changes | {"loop.batch_blocks": 8, "loop.accumulation": 1})
            yield f"small-llama2, {layers} layers, bfloat16, 8 x 1024", one
        return
    rows = None if default_corpus() == "builtin" else 100_000
    for vocabulary, layers, blocks in ((4096, 1, 8), (4096, 2, 32), (8192, 1, 32), (8192, 4, 8)):
        yield (
            f"tiny, V {vocabulary}, {layers} layer{'s' * (layers > 1)}, {blocks} x 128",
            config_of(
                default_corpus(),
                corpus__train_rows=rows,
                tokens__tokenizer=f"train:{vocabulary}",
                model__layers=layers,
                loop__batch_blocks=blocks,
            ),
        )


def utilisation(config: TrialConfig, data: RunData, tokens_per_second: float, peak: float = 989e12) -> str:
    """Share of the H100's dense bfloat16 peak (989 TFLOP/s by NVIDIA's data sheet): 6 FLOP a parameter and token."""
    model = student_model(config, data)
    parameters = sum(p.numel() for p in model.parameters()) - model.model.embed_tokens.weight.numel()
    attention = 12 * config.model.layers * model.config.hidden_size * config.tokens.context / 2
    return f"model FLOP utilisation {tokens_per_second * (6 * parameters + attention) / peak:.1%} of 989 TFLOP/s"


def main() -> None:
    """Run all cases and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="pairs a case (7)")
    parser.add_argument("--threads", type=int, default=1, help="threads (1, a trial's share)")
    parser.add_argument("--name", default="throughput", help="of the JSON file: one for each class of machine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    rows: list[Row] = []
    for name, config in cases():
        data, _ = prepare_run(config)
        steps = max(2, 16_384 // tokens_per_step(config))
        rivals: list[tuple[str, Callable[..., float], float]] = [
            ("Trainer", trainer, 1.3),
            ("bare loop", bare_loop, 1.0),
        ]
        for rival, run, limit in rivals:
            pairs = alternate(lambda: ours(config, data, steps), lambda: run(config, data, steps), options.repeats)  # noqa: B023
            rows.append(
                compare(f"ours / {rival}: {name}, {options.threads} thread", *pairs, "tokens/s", at_least=limit)
            )
            print(f"{rows[-1].case}: {rows[-1].ratio:.3f}", flush=True)
        if torch.cuda.is_available():
            print(utilisation(config, data, rows[-1].ours))
    keep(options.name, rows)


if __name__ == "__main__":
    main()
