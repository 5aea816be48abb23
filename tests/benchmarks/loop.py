"""The training loop for measurements: the steps that train() takes (trainable/student/train.py), a few at a time.

On a CPU a turn is one step. On a GPU it is 10 steps. Before the clock is read, the GPU must have finished all its work.
If this happened after each step, the GPU would have no work while the host prepares the next step.
"""

from collections.abc import Iterator
from functools import partial
from time import perf_counter

import torch
from transformers import LlamaForCausalLM

from trainable.config import TrialConfig
from trainable.student.allocator import keep_freed_memory
from trainable.student.checkpoint import RunState
from trainable.student.compiled_layers import compile_layers
from trainable.student.late_loss import StepLosses
from trainable.student.model import build_model, output_matrix
from trainable.student.optimizer import learning_rate, make_optimizer, update
from trainable.student.precision import autocast_of
from trainable.student.ranks import ALONE
from trainable.student.run_data import RunData
from trainable.student.step_data import AHEAD, made_ahead, step_data, weight_at
from trainable.student.train import backward, compiling_step, make_teacher, seed_step

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
STEPS_A_TURN = {"cpu": 1, "cuda": 10}[DEVICE.type]
WARM_UP = 2  # steps that do not count: they allocate


def our_loop(config: TrialConfig, data: RunData, total: int) -> Iterator[None]:
    """Take a step of this project for each item that is asked for, as train() takes it; compilation comes before."""
    keep_freed_memory()  # as train() does; a setting of the whole process, so any rivals have it, too
    clip_norm = config.optimizer.clip_norm
    model = student_model(config, data)
    optimizer = make_optimizer(model, config.optimizer)
    autocast = autocast_of(config.loop, DEVICE)
    scaler = torch.amp.GradScaler(DEVICE.type, enabled=False)
    losses = StepLosses(RunState(), clip_norm)  # on a GPU it waits for the step before, never for the present one
    teacher = make_teacher(config, data, DEVICE)
    make_data = partial(step_data, data.train, config, teacher, DEVICE, ALONE, output_matrix(model).dtype)
    if DEVICE.type == "cuda":
        compile_layers(model, lambda: compiling_step(model, teacher, make_data(0), config, autocast, scaler))
    for step, (batches, targets, rows) in enumerate(made_ahead(make_data, 0, total, AHEAD[DEVICE.type])):
        lr, weight = learning_rate(step, config.optimizer, total), weight_at(config.teacher, step)
        seed_step(config.seed, step, ALONE.rank)
        loss = backward(model, teacher, batches, targets, weight, autocast, scaler, ALONE, rows)
        norm = update(model, optimizer, scaler, lr, clip_norm)
        losses.add(loss, norm, step, lr, weight)
        yield


def student_model(config: TrialConfig, data: RunData) -> LlamaForCausalLM:
    """The same initial model for all."""
    model = build_model(config.model, vocab_size=data.train.vocab_size, context=config.tokens.context, seed=0)
    return model.to(DEVICE)  # type: ignore[arg-type,return-value]


def now() -> float:
    """Seconds on the clock, after the device has finished its work."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def seconds_of(loop: Iterator[None], steps: int = STEPS_A_TURN) -> float:
    """Seconds of the next steps of a loop. The device is waited for before and after them, not between them."""
    started = now()
    for _ in range(steps):
        next(loop)
    return now() - started
