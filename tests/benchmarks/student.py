"""A student for measurements: the loop's own steps (trainable/student/train.py), one at a time, with any loss."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweeps.engine.settings import TINY
from trainable.config import TrialConfig, override
from trainable.prepare import prepare_run
from trainable.student.allocator import keep_freed_memory
from trainable.student.batches import Batch, count_targets, make_batch, step_numbers
from trainable.student.model import build_model, hidden_states, output_matrix
from trainable.student.precision import autocast_of
from trainable.student.run_data import RunData
from trainable.student.train import backward, make_optimizer, make_teacher, pick_device, update
from trainable.teacher.teacher import Teacher

BOOKS = Path(__file__).resolve().parents[3] / "shared" / "data" / "books" / "books.parquet"
LossOf = Callable[[Tensor, Batch], Tensor]  # (hidden states [N, D], batch) -> summed loss


def config_of(corpus: str, **changes: Any) -> TrialConfig:
    """The laptop's setting on `corpus`, in float32; changes are dotted keys with __ for the dot."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    fixed = {"corpus.source": corpus, "corpus.eval_rows": 20, "loop.precision": "float32"}
    return override(TINY, fixed | dotted)


def default_corpus() -> str:
    """The books if they are there (a 32,000-token vocabulary needs much text), else the built-in text."""
    return str(BOOKS) if BOOKS.exists() else "builtin"


class Student:
    """A model with its optimizer and data, whose steps are timed."""

    def __init__(self, config: TrialConfig, data: RunData | None = None):
        keep_freed_memory()  # as the loop does
        self.config = config
        self.data = data or prepare_run(config)[0]
        assert self.data.table is not None
        self.device = pick_device(config.loop)
        self.autocast = autocast_of(config.loop, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=False)
        vocab_size, context = self.data.train.vocab_size, config.tokens.context
        self.model = build_model(config.model, vocab_size=vocab_size, context=context, seed=0).to(self.device)
        self.optimizer = make_optimizer(self.model, config.optimizer)
        guided = override(config, {"teacher.schedule": "linear", "teacher.steps": 1})
        teacher = make_teacher(guided, self.data, self.device)
        assert teacher is not None
        self.teacher = teacher
        self.taken = 0

    def plain(self) -> float:
        """Seconds of a plain optimizer step."""
        return self._step(None, 0.0)

    def guided(self) -> float:
        """Seconds of a guided optimizer step, as in the training loop."""
        return self._step(self.teacher, 0.5)

    def with_loss(self, loss_of: LossOf) -> float:
        """Seconds of a step with another loss."""
        return self._timed(lambda batches, targets: self._backward_by(loss_of, batches, targets))

    def _step(self, teacher: Teacher | None, weight: float) -> float:
        return self._timed(
            lambda batches, targets: backward(self.model, teacher, batches, targets, weight, self.autocast, self.scaler)
        )

    def _backward_by(self, loss_of: LossOf, batches: list[Batch], targets: int) -> None:
        for batch in batches:
            with self.autocast:
                loss = loss_of(hidden_states(self.model, batch.context_BxT).flatten(0, 1), batch)
            (loss / targets).backward()  # type: ignore[no-untyped-call]

    def _timed(self, backward_of: Callable[[list[Batch], int], Any]) -> float:
        self._wait()
        started = time.perf_counter()
        batches = self.batches()
        backward_of(batches, count_targets(self.data.train, self._numbers().flatten()))
        update(self.model, self.optimizer, self.scaler, self.config.optimizer.lr, self.config.optimizer.clip_norm)
        self._wait()
        self.taken += 1
        return time.perf_counter() - started

    def batches(self) -> list[Batch]:
        """Micro-batches of the next step."""
        return [make_batch(self.data.train, numbers_B, self.device) for numbers_B in self._numbers()]

    def _numbers(self) -> np.ndarray:
        return step_numbers(self.data.train, self.taken, self.config.loop, seed=0)

    @property
    def output(self) -> torch.nn.Parameter:
        """The output matrix W [V, D]."""
        return output_matrix(self.model)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def loop_of(tokens: int, config: TrialConfig, micro_batch: int = 32) -> dict[str, int]:
    """Settings that make a step of about `tokens` tokens: micro-batches of at most `micro_batch` blocks."""
    blocks = max(1, tokens // config.tokens.context)
    size = min(blocks, micro_batch)
    return {"loop.batch_blocks": size, "loop.accumulation": blocks // size}


def resized(config: TrialConfig, tokens: int) -> TrialConfig:
    """The same student with another number of tokens a step."""
    return override(config, loop_of(tokens, config))
