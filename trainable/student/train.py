"""The training loop, from first step to last: checkpoint -> evaluate -> report -> step. Needs no Ray.

A run that was interrupted and resumed equals an uninterrupted one, bit for bit on a CPU with the same number of
threads: batches, schedules and PyTorch's random state are functions of the step, and the checkpoint has all else.
"""

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from trainable import names
from trainable.config import LoopConfig, TrialConfig, identity
from trainable.errors import DamagedFile, InputError, require
from trainable.record.files import fingerprint
from trainable.student.allocator import keep_freed_memory
from trainable.student.batches import Batch
from trainable.student.checkpoint import RunState, load_checkpoint, save_checkpoint
from trainable.student.compiled_layers import compile_layers
from trainable.student.evaluate import Evaluation, evaluate
from trainable.student.guided_loss import guided_loss
from trainable.student.late_loss import StepLosses, check_finite
from trainable.student.memory import PeakMemory
from trainable.student.model import build_model, hidden_states, output_bias, output_matrix, over_output_rows
from trainable.student.optimizer import learning_rate, make_optimizer, update
from trainable.student.precision import autocast_of, resolved
from trainable.student.ranks import ALONE, Ranks
from trainable.student.run_data import RunData
from trainable.student.step_data import AHEAD, StepData, asked_about, made_ahead, step_data, weight_at
from trainable.student.unigram import log_unigram
from trainable.teacher.answers import Answers
from trainable.teacher.kinds import teacher_class
from trainable.teacher.teacher import Guidance, RowTeacher, StepRows, Teacher

_log = logging.getLogger(__name__)
Report = dict[str, Any]  # keys: names.REPORT_COLUMNS, without gain, which needs the report of a control


def train(
    config: TrialConfig,
    data: RunData,
    report: Callable[[Report], None],
    checkpoint: Path | None = None,
    ranks: Ranks = ALONE,
) -> None:
    """Train a student with its teacher from the first step to the last, like a trial of a sweep, but without Ray.

    config: all settings of the run (trainable.config.TrialConfig). data: blocks and teacher table. report: called with
    a dict at step 0, every `config.loop.eval_every` steps and at the end; its `eval_loss` is plain cross-entropy on the
    validation blocks in nats per token, and trainable/names.py has all keys and their units.
    checkpoint: file from which training goes on if it exists, and which is kept up to date. ranks: if several processes
    train one model, each calls this with its own rank and equal other arguments; only the first reports and writes.
    PyTorch's random state is set at each step. With `loop.precision=auto` the run uses the best precision of this
    machine, and a checkpoint must have the same precision.
    Raises TrainingDiverged if a training or validation loss is not finite. Raises InputError for settings that do not
    fit the machine or each other.
    """
    config = resolved(config)
    loop = config.loop
    device = pick_device(loop)
    memory = PeakMemory(device)
    keep_freed_memory()
    autocast = autocast_of(loop, device)
    scaler = torch.amp.GradScaler(device.type, enabled=loop.precision == "float16" and device.type == "cuda")
    unigram_V = log_unigram(data.train)
    model = build_model(
        config.model,
        vocab_size=data.train.vocab_size,
        context=config.tokens.context,
        seed=config.seed,
        unigram_V=unigram_V,
    ).to(device)
    unigram_V = over_output_rows(unigram_V, len(output_matrix(model))).to(device)
    optimizer = make_optimizer(model, config.optimizer)
    teacher = make_teacher(config, data, device)
    run_id = fingerprint(identity(config))
    state = RunState()
    if checkpoint is not None and (loaded := usable_checkpoint(checkpoint, run_id)) is not None:
        state, parts = loaded
        model.load_state_dict(parts["model"])
        optimizer.load_state_dict(parts["optimizer"])
        scaler.load_state_dict(parts["scaler"])
    require(
        len(set(ranks.in_order([state.step]))) == 1,
        f"the workers of a trial find different checkpoints at {checkpoint}: put results/ on a file system that all "
        "nodes share.",
    )

    dtype = output_matrix(model).dtype
    make_data = partial(step_data, data.train, config, teacher, device, ranks, dtype)
    if device.type == "cuda" and state.step < loop.steps:
        compile_layers(model, lambda: compiling_step(model, teacher, make_data(state.step), config, autocast, scaler))
    steps = made_ahead(make_data, state.step, loop.steps, AHEAD[device.type])
    losses = StepLosses(state, config.optimizer.clip_norm)
    while True:
        last = state.step == loop.steps
        if state.recent_steps and (last or state.step % loop.eval_every == 0):
            started = time.perf_counter()
            losses.read_all()  # waits until the GPU has done the last step
            waited = time.perf_counter() - started
            state.train_seconds += waited
            state.recent_seconds += waited
        weight = weight_at(config.teacher, state.step)
        lr = learning_rate(state.step, config.optimizer, loop.steps)

        # --- checkpoint: before the evaluation, so that a run that is resumed here evaluates and reports again ---
        if checkpoint is not None and ranks.first and state.step and (last or state.step % loop.checkpoint_every == 0):
            save_checkpoint(
                checkpoint,
                run_id,
                state,
                model=model.state_dict(),
                optimizer=optimizer.state_dict(),
                scaler=scaler.state_dict(),
            )

        # --- evaluate, report ---
        if last or state.step % loop.eval_every == 0:
            started = time.perf_counter()
            evaluation = evaluate(model, data.eval, loop.eval_batch_blocks, autocast, ranks, unigram_V)
            state.eval_seconds += time.perf_counter() - started
            check_finite("validation loss", evaluation.loss, state.step, lr, weight)
            if ranks.first:
                report(make_report(state, evaluation, weight, lr, memory))
            state.begin_report()
        if last:
            return

        # --- step ---
        started = time.perf_counter()
        seed_step(config.seed, state.step, ranks.rank)
        batches, targets, rows = next(steps)
        loss = backward(model, teacher, batches, targets, weight, autocast, scaler, ranks, rows)
        norm = update(model, optimizer, scaler, lr, config.optimizer.clip_norm)
        losses.add(loss, norm, state.step, lr, weight)
        count_step(state, targets, time.perf_counter() - started)


def usable_checkpoint(path: Path, run_id: str) -> tuple[RunState, dict[str, dict[str, Any]]] | None:
    """Load state and weights to go on from; None if there is no file, or, with a warning, if it is damaged."""
    if not path.exists():
        return None
    try:
        return load_checkpoint(path, run_id)
    except DamagedFile as error:
        _log.warning("checkpoint %s is damaged (%s): the run starts again from step 0.", path, error.reason)
        return None


def pick_device(loop: LoopConfig) -> torch.device:
    """Return the device of the settings; "auto" means CUDA if it is available."""
    if loop.device == "cuda" and not torch.cuda.is_available():
        raise InputError("loop.device is cuda but PyTorch finds no CUDA device here: use auto or cpu.")
    use_cuda = loop.device == "cuda" or (loop.device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def make_teacher(config: TrialConfig, data: RunData, device: torch.device) -> Teacher | None:
    """Make the teacher of a run; None for a control."""
    if config.teacher.schedule == "none":
        return None
    kind = teacher_class(config.teacher.kind)
    if not issubclass(kind, RowTeacher):
        return kind()
    if data.table is None:
        raise InputError(f"schedule {config.teacher.schedule} needs a teacher table, but data.table is None: give one.")
    if data.table.vocab_size != data.train.vocab_size:
        raise InputError(
            f"the teacher table has {data.table.vocab_size} tokens but the blocks have {data.train.vocab_size}: "
            "count the table with the tokenizer of the blocks."
        )
    if isinstance(data.table, Answers) and data.table.blocks_fingerprint != data.train.fingerprint:
        raise InputError(
            "the teacher's model was asked about other training blocks than these: prepare the run's data together."
        )
    low = config.loop.precision != "float32" and device.type == "cuda" and torch.cuda.is_bf16_supported(False)
    return kind(data.table, device, product=torch.bfloat16 if low else None)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Set PyTorch's random state from the seed, the step and the rank alone.

    So all random numbers of a step are the same in both arms of a pair, and in a resumed run.
    """
    torch.manual_seed(int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0]))


def backward(
    model: PreTrainedModel,
    teacher: Teacher | None,
    batches: list[Batch],
    targets: int,
    weight: float,
    autocast: torch.autocast,
    scaler: torch.amp.GradScaler,
    ranks: Ranks = ALONE,
    rows: StepRows | None = None,
) -> torch.Tensor:
    """Make the gradients of an optimizer step, over all micro-batches and ranks; return its mean loss, nats per token.

    rows: the teacher's rows for these batches, if they were made ahead. The loss is a tensor on the model's device:
    nothing here waits for a GPU. With teacher weight 0 a step is a plain one.
    """
    # 1 one guidance for all micro-batches: W changes only at the end of the step
    guidance = None
    if teacher is not None and weight > 0:
        output_VxD, bias_V = output_matrix(model), output_bias(model)
        if isinstance(teacher, RowTeacher) and rows is not None:
            guidance = teacher.guide_by(rows, output_VxD, weight, bias_V)
        else:
            context_AxBxT, numbers_AxB = asked_about(batches)
            guidance = teacher.guide(output_VxD, context_AxBxT, weight, bias_V, blocks=numbers_AxB)

    # 2 each micro-batch adds to the gradients
    step_loss = torch.zeros((), device=model.device)
    for part, batch in enumerate(batches):
        with autocast:
            loss = batch_loss(model, batch, None if guidance is None else guidance[part]) / targets
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        step_loss += loss.detach()

    # 3 the sum over ranks
    ranks.sum_gradients(model)
    return ranks.sum(step_loss)


def compiling_step(
    model: PreTrainedModel,
    teacher: Teacher | None,
    data: StepData,
    config: TrialConfig,
    autocast: torch.autocast,
    scaler: torch.amp.GradScaler,
) -> None:
    """Make the gradients of one micro-batch: all that compiles at its first use compiles here, before the first step.

    So the seconds of training are those of steps, whichever trial of a process is the first.
    """
    weight = weight_at(config.teacher, 0)
    backward(model, teacher, data.batches[:1], data.targets, weight, autocast, scaler)


def batch_loss(model: PreTrainedModel, batch: Batch, guidance: Guidance | None) -> torch.Tensor:
    """Guided loss of a micro-batch, summed over positions, in nats."""
    hidden_NxD = hidden_states(model, batch.context_BxT).flatten(0, 1)
    return guided_loss(hidden_NxD, output_matrix(model), batch.target_BxT.flatten(), guidance, output_bias(model))


def count_step(state: RunState, targets: int, seconds: float) -> None:
    """Add one optimizer step to the counters of the state, except its loss and norm."""
    state.step += 1
    state.tokens += targets
    state.train_seconds += seconds
    state.recent_steps += 1
    state.recent_tokens += targets
    state.recent_seconds += seconds


def make_report(state: RunState, evaluation: Evaluation, weight: float, lr: float, memory: PeakMemory) -> Report:
    """Make a report with the keys of names.py; values that are not known yet are NaN."""
    return {
        names.STEP: state.step,
        names.EVAL_LOSS: evaluation.loss,
        names.EVAL_LOSS_SE: evaluation.standard_error,
        names.TRAIN_LOSS: state.recent_loss / state.recent_steps if state.recent_steps else math.nan,
        names.TEACHER_WEIGHT: weight,
        names.LEARNING_RATE: lr,
        names.GRAD_NORM: state.recent_norm / state.recent_norms if state.recent_norms else math.nan,
        names.CLIPPED_SHARE: state.recent_clipped / state.recent_steps if state.recent_steps else math.nan,
        names.OUTPUT_ENTROPY: evaluation.diagnostics.output_entropy,
        names.HIDDEN_COSINE: evaluation.diagnostics.hidden_cosine,
        names.UNIGRAM_KL: evaluation.diagnostics.unigram_kl,
        names.TOKENS: state.tokens,
        names.TOKENS_PER_SECOND: state.recent_tokens / state.recent_seconds if state.recent_seconds else math.nan,
        names.TRAIN_SECONDS: state.train_seconds,
        names.EVAL_SECONDS: state.eval_seconds,
        names.PEAK_MEMORY_MIB: memory.mib(),
        names.TIMESTAMP: time.time(),
    }
