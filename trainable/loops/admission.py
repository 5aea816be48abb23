"""Checks of GuidedTrainer before training: of the way of training, the student and the teacher.

The student's own loss is compared with ours on a few tokens: with its own logits, and with stretched logits, because a
cap has no visible effect on logits near 0.
"""

import inspect
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from transformers import PreTrainedModel, Trainer

from trainable.config import TeacherConfig
from trainable.errors import require
from trainable.loops.collated import targets_of
from trainable.loops.found_schedule import FoundSchedule
from trainable.student.guided_loss import guided_loss
from trainable.student.model import hidden_states, output_bias, output_matrix
from trainable.teacher.kinds import teacher_class
from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.kinds.model import ModelTeacher
from trainable.teacher.kinds.ngram import NgramTeacher
from trainable.teacher.kinds.ramp import RampTeacher
from trainable.teacher.ngram_table import NgramTable
from trainable.teacher.table import BigramTable
from trainable.teacher.teacher import RowTeacher, Teacher
from trainable.teacher.teacher_file import load_teacher

TRIED_TOKENS: Final = 8  # tokens on which the student's own loss is compared with ours
STRETCHED: Final = (1.0, 100.0)  # factors of the logits: large logits show a cap
TOLERANCE: Final = {torch.float32: 1e-4, torch.float64: 1e-4}  # {dtype: largest difference of both losses, nats}
HALF_TOLERANCE: Final = 5e-2  # the same for dtypes of lower precision


def teacher_for(
    found: FoundSchedule | TeacherConfig, teacher: Teacher | BigramTable | NgramTable | Path | str | None, to: Trainer
) -> Teacher:
    """Make the teacher on the student's device. Raises InputError if there is none, or if it cannot teach here."""
    device, low = to.args.device, to.args.bf16 and to.args.device.type == "cuda"
    product = torch.bfloat16 if low else None
    settings, tokenizer = found.teacher if isinstance(found, FoundSchedule) else found, None
    if teacher is None and isinstance(found, FoundSchedule):
        teacher, tokenizer = found.table, found.tokenizer_fingerprint
    if teacher is None:
        kind = teacher_class(settings.kind)
        require(
            not issubclass(kind, RowTeacher) or settings.schedule == "none",
            f"a schedule with a teacher of kind {settings.kind} needs its table: give as teacher= the file of a table, "
            "such as python -m trainable.teacher writes, or a teacher.",
        )
        teacher = RampTeacher() if issubclass(kind, RowTeacher) else kind()  # a control never asks it
    elif isinstance(teacher, (str, Path)):
        teacher = load_teacher(teacher, device, product=product, expect_tokenizer=tokenizer)
    elif isinstance(teacher, BigramTable):
        teacher = BigramTeacher(teacher, device, product=product)
    elif isinstance(teacher, NgramTable):
        teacher = NgramTeacher(teacher, device, product=product)
    require(
        isinstance(teacher, Teacher) and not isinstance(teacher, ModelTeacher),
        f"a {type(teacher).__name__} cannot teach here, where batches hold any text in any order: give a table of "
        "bigrams or n-grams, the file of such a table, or a teacher that is asked about tokens.",
    )
    rows = len(output_matrix(to.model))
    if isinstance(teacher, RowTeacher):
        require(
            len(teacher.base_V) <= rows,
            f"the teacher knows {len(teacher.base_V)} tokens but the model's head has {rows} rows: give a table that "
            "was counted with the model's tokenizer.",
        )
        require(
            teacher.device.type == device.type,
            f"the teacher is on {teacher.device} but training is on {device}: make it on {device}, or give its table.",
        )
    return teacher


def check_ways(trainer: Trainer) -> None:
    """Raise InputError for a way of training that would make the guided loss wrong, or would not use it."""
    args, parallel = trainer.args, getattr(trainer.accelerator, "parallelism_config", None)
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled or trainer.is_distributed_loading_by_transformers
    for unknown, what in (
        (sharded or parallel is not None, "a model that is sharded over devices: start it with torchrun alone (DDP)"),
        (args.n_gpu > 1, f"DataParallel on {args.n_gpu} GPUs: start it with torchrun, or let it see one GPU"),
        (args.torch_compile, "torch_compile: leave it out"),
        (args.label_smoothing_factor, "label_smoothing_factor: leave it out, because a teacher smooths labels already"),
        (trainer.compute_loss_func, "a compute_loss_func: leave it out"),
    ):
        require(not unknown, f"GuidedTrainer does not support {what}.")


@torch.no_grad()
def check_student(model: Any) -> None:
    """Raise InputError unless the student's own loss is the cross-entropy of its hidden states and its head."""
    name = type(model).__name__
    require(
        isinstance(model, PreTrainedModel) and isinstance(model.get_output_embeddings(), torch.nn.Linear),
        f"GuidedTrainer trains a causal language model of transformers with a linear head, not a {name}: give one "
        "without adapters.",
    )
    training, head = model.training, model.get_output_embeddings()
    model.eval()
    try:
        output_VxD, bias_V = output_matrix(model), output_bias(model)
        ids_1xT = torch.arange(TRIED_TOKENS, device=output_VxD.device)[None] % len(output_VxD)
        target_N = targets_of({"labels": ids_1xT}).flatten()
        hidden_NxD = hidden_states(model, ids_1xT).flatten(0, 1)
        for times in STRETCHED:
            bias = None if bias_V is None else bias_V * times
            ours = float(guided_loss(hidden_NxD * times, output_VxD, target_N, None, bias)) / (TRIED_TOKENS - 1)
            hook = head.register_forward_hook(lambda module, read, logits, times=times: logits * times)
            try:
                own = float(model(input_ids=ids_1xT, labels=ids_1xT, use_cache=False).loss)
            finally:
                hook.remove()
            require(
                bool(np.isclose(own, ours, rtol=0, atol=TOLERANCE.get(output_VxD.dtype, HALF_TOLERANCE) * times)),
                f"the loss of {name} is {own:.5f} on a test text but the cross-entropy of its head is {ours:.5f}, so "
                "its logits are not its hidden states times its head, or its loss has other parts, which guided_loss "
                "would leave out: give another model.",
            )
    finally:
        model.train(training)


def require_begins(teacher: Teacher) -> None:
    """Raise InputError if a teacher's method has no argument `begins`, so that it supports only one text a row."""
    asked = teacher.rows if isinstance(teacher, RowTeacher) else teacher.guide
    require(
        "begins" in inspect.signature(asked).parameters,
        f"{type(teacher).__name__} supports only histories that begin with a row, but a batch has texts that begin "
        "within a row, or rows of several lengths: let its method take begins, or give rows of one length without "
        "packing.",
    )
