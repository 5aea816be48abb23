"""transformers' Trainer with a teacher: guidance once an optimizer step, plain evaluation, all else as in Trainer.

    pip install "bigram-guided-pretraining[hf]"
    trainer = GuidedTrainer(model, arguments, train_dataset=rows, teacher="table.bigram", schedule=TeacherConfig(...))
    trainer.train()

Trainer collects the micro-batches of a step before the first of them runs (`get_batch_samples`); there the teacher
gives its guidance for all of them. The loss is computed inside the student's `forward`, which does not call the
student's head, so no logits are made. So DistributedDataParallel and autocast work as for any loss, and the gradient
through E comes in the last backward pass, before gradients are averaged over processes. To combine it with another
Trainer, derive a class from both: class GuidedSFT(GuidedTrainer, SFTTrainer).
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, Trainer, TrainerCallback
from transformers.trainer_callback import ExportableState

from trainable.config import TeacherConfig
from trainable.errors import require
from trainable.loops.admission import check_student, check_ways, require_begins, teacher_for
from trainable.loops.collated import NO_INPUTS, Contexts, contexts_of, question_of, targets_of
from trainable.loops.found_schedule import FoundSchedule, load_schedule
from trainable.student.guided_loss import guided_loss
from trainable.student.model import hidden_states, output_bias, output_matrix
from trainable.student.output_layer import IGNORE_INDEX
from trainable.student.step_data import weight_at
from trainable.teacher.ngram_table import NgramTable
from trainable.teacher.table import BigramTable
from trainable.teacher.teacher import Guidance, Teacher

LOGGED_WEIGHT = "teacher_weight"


class GuidedTrainer(Trainer):  # type: ignore[misc]
    """transformers' Trainer with guided steps while the teacher's weight is above 0, and plain steps after that.

    All arguments except these two are Trainer's own:

    schedule: the schedule.json that a sweep's `--export` wrote, or its folder; the result of `load_schedule`; or a
    TeacherConfig, such as TeacherConfig(schedule="linear", steps=500). Steps are optimizer steps.
    teacher: the file of a table of bigrams or n-grams, a table, or a teacher; None: the table beside schedule.json.

    Raises InputError for a student whose loss is not plain cross-entropy of a linear head, for a teacher with another
    vocabulary, and for unsupported ways of training (FSDP, DeepSpeed, DataParallel, torch.compile).
    """

    loss_is_scaled_for_ga = True  # compute_loss divides by the targets of the whole step

    def __init__(
        self,
        *args: Any,
        schedule: FoundSchedule | TeacherConfig | Path | str,
        teacher: Teacher | BigramTable | NgramTable | Path | str | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        found = load_schedule(schedule) if isinstance(schedule, (str, Path)) else schedule
        self.teaching = found.teacher if isinstance(found, FoundSchedule) else found
        require(
            isinstance(self.teaching, TeacherConfig),
            f"schedule is a {type(schedule).__name__}: give a TeacherConfig, the file or folder of an exported "
            "schedule, or the result of load_schedule.",
        )
        check_ways(self)
        check_student(self.model)
        self.teacher = teacher_for(found, teacher, self)
        self._said: deque[Guidance | None] = deque()  # guidance of the step's micro-batches that have not run yet
        self._targets: Tensor | int = 0  # number of targets of the step, in all processes or in this one only
        self.add_callback(_Taught(self.teaching, self.teacher))

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """Return the micro-batches of an optimizer step, and get the guidance for all of them at once."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._targets = self._count(batches) if items is None else items
        self._said = deque(self._guidance(batches, weight_at(self.teaching, self.state.global_step)))
        return batches, items

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, *args: Any, **kwargs: Any) -> Any:
        """Guided loss of a micro-batch, divided by the targets of the whole step; evaluation is Trainer's own."""
        if return_outputs or not model.training:
            return super().compute_loss(model, inputs, return_outputs, *args, **kwargs)
        require(bool(self._said), "compute_loss was called outside of an optimizer step: let train() call it.")
        said, targets = self._said.popleft(), targets_of(inputs)
        student = self.accelerator.unwrap_model(model)

        def loss_of(**read: Any) -> Tensor:
            with self.accelerator.autocast():
                return _batch_loss(student, read, targets, said)

        with _forward(student, loss_of):
            loss = model(**{name: value for name, value in inputs.items() if name not in NO_INPUTS})
        over_processes = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return loss * over_processes / self._targets  # DistributedDataParallel takes the mean of all processes

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log the loss with the teacher's weight in the last step."""
        if "loss" in logs:
            logs[LOGGED_WEIGHT] = weight_at(self.teaching, self.state.global_step - 1)
        super().log(logs, *args, **kwargs)

    def _guidance(self, batches: list[Any], weight: float) -> Iterator[Guidance | None]:
        """Yield the guidance of each micro-batch."""
        if weight == 0 or not batches:
            yield from [None] * len(batches)
            return
        parts: list[Contexts] = [contexts_of(batch) for batch in batches]
        ids, begins = question_of(parts)
        student = self.accelerator.unwrap_model(self.model)
        output_VxD, bias_V = output_matrix(student), output_bias(student)
        if begins is None:
            guidance = self.teacher.guide(output_VxD, ids, weight, bias_V)
            yield from (guidance[number] for number in range(len(parts)))
            return
        require_begins(self.teacher)
        guidance = self.teacher.guide(output_VxD, ids[None], weight, bias_V, begins=begins[None])
        first = 0
        for part in parts:
            yield guidance[0][first : first + part.ids_BxT.size]
            first += part.ids_BxT.size

    def _count(self, batches: list[Any]) -> Tensor:
        """Number of targets of a step, for students whose forward does not take it."""
        counts = [targets_of(batch).ne(IGNORE_INDEX).sum() for batch in batches]
        total = torch.stack(counts or [torch.zeros((), dtype=torch.int64)]).sum().to(self.args.device)
        everywhere = self.args.average_tokens_across_devices and self.args.world_size > 1
        return self.accelerator.gather(total).sum() if everywhere else total


def _batch_loss(student: PreTrainedModel, read: dict[str, Any], target_BxT: Tensor, said: Guidance | None) -> Tensor:
    """Guided loss of a micro-batch, summed, in nats; positions that the mask hides get plain cross-entropy."""
    output_VxD, bias_V = output_matrix(student), output_bias(student)
    hidden_BxTxD = hidden_states(student, read["input_ids"], **{key: read[key] for key in read if key != "input_ids"})
    target_BxT = target_BxT.to(hidden_BxTxD.device)
    mask_BxT = read.get("attention_mask")
    if said is None or mask_BxT is None:
        return guided_loss(hidden_BxTxD.flatten(0, 1), output_VxD, target_BxT.flatten(), said, bias_V)
    taught_BxT = target_BxT.masked_fill(mask_BxT == 0, IGNORE_INDEX)
    loss = guided_loss(hidden_BxTxD.flatten(0, 1), output_VxD, taught_BxT.flatten(), said, bias_V)
    untaught_BxT = taught_BxT != target_BxT
    if untaught_BxT.any():
        loss = loss + guided_loss(hidden_BxTxD[untaught_BxT], output_VxD, target_BxT[untaught_BxT], None, bias_V)
    return loss


@contextmanager
def _forward(student: torch.nn.Module, loss_of: Callable[..., Tensor]) -> Iterator[None]:
    """Let the student's next forward return its loss, so that wrappers such as DDP see all parameters used in it."""
    before = student.__dict__.get("forward")  # accelerate replaces forward, for autocast

    def as_before() -> None:
        student.__dict__.pop("forward", None)
        if before is not None:
            student.forward = before

    def forward(**read: Any) -> Tensor:
        as_before()  # loss_of calls the student's own forward
        return loss_of(**read)

    student.forward = forward
    try:
        yield
    finally:
        as_before()


class _Taught(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Stores teacher and schedule in each checkpoint, and refuses to resume from a checkpoint with others."""

    def __init__(self, teaching: TeacherConfig, teacher: Teacher):
        said = {name: asdict(teaching)[name] for name in ("schedule", "steps", "min_weight", "tau")}
        table = getattr(getattr(teacher, "table", None), "checksum", "")
        self.said = said | {"teacher": type(teacher).__name__, "table": table}

    def state(self) -> dict[str, Any]:
        """Content for trainer_state.json."""
        return {"args": {}, "attributes": self.said}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Raise InputError if training resumes from a checkpoint with another teacher or schedule."""
        before = state.stateful_callbacks.get(type(self).__name__, {}).get("attributes", self.said)
        differing = {name: now for name, now in self.said.items() if before.get(name) != now}
        changed = [f"{name} {before.get(name)} there, {now} here" for name, now in differing.items()]
        require(
            not changed,
            f"the checkpoint was trained with another teacher or schedule ({'; '.join(changed)}): give the same ones, "
            "or begin a new training from its weights.",
        )
