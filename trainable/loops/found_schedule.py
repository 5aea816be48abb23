"""The schedule that a sweep found, in a file beside the exported model, for other training loops.

python sweeps/schedule_search.py ... --export best model       # writes model/schedule.json and model/teacher.table
found = trainable.load_schedule("model")                       # found.teacher, found.optimizer, found.arguments
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from trainable.config import LoopConfig, OptimizerConfig, TeacherConfig, from_dict
from trainable.errors import InputError
from trainable.record.files import read_foreign_json, user_path, write_json

SCHEDULE_FILE: Final = "schedule.json"
TABLE_FILE: Final = "teacher.table"  # table of bigrams or longer n-grams, which teacher/teacher_file.py loads
_FORMAT: Final = 1  # raise it for a change that older programs would misread
_SETTINGS: Final = ("teacher", "optimizer", "loop")
_FACTS: Final = ("study", "run", "trial", "eval_loss", "context", "tokenizer_fingerprint")


@dataclass(frozen=True, kw_only=True)
class FoundSchedule:
    """The best schedule of a sweep, with the settings of its trial, but without the weights of the model."""

    teacher: TeacherConfig  # kind, order, smoothing, schedule, steps, minimum weight and tau
    optimizer: OptimizerConfig  # learning rate, warm-up and the other settings of AdamW
    loop: LoopConfig  # optimizer steps, blocks of a step, precision
    context: int  # tokens of a block
    tokenizer_fingerprint: str  # of the tokenizer whose tokens the teacher knows
    study: str
    run: str  # name of the run folder
    trial: str
    eval_loss: float  # final validation loss of the trial, nats per token
    table: Path | None = None  # file of the teacher table; None: no table, or none for other loops

    @property
    def arguments(self) -> dict[str, Any]:
        """Optimizer, learning rate and size of a step, as keyword arguments of transformers' TrainingArguments.

        Trainer's warm-up begins with learning rate 0, so it is one step later than the warm-up of this project.
        """
        optimizer, loop = self.optimizer, self.loop
        return {
            "max_steps": loop.steps,
            "per_device_train_batch_size": loop.batch_blocks,  # for one process; divide it by the number of processes
            "gradient_accumulation_steps": loop.accumulation,
            "learning_rate": optimizer.lr,
            "lr_scheduler_type": "cosine",
            "warmup_steps": optimizer.warmup_steps,
            "weight_decay": optimizer.weight_decay,
            "adam_beta1": optimizer.beta1,
            "adam_beta2": optimizer.beta2,
            "adam_epsilon": optimizer.eps,
            "max_grad_norm": optimizer.clip_norm,
            "bf16": loop.precision == "bfloat16",
            "fp16": loop.precision == "float16",
        }


def save_schedule(found: FoundSchedule, folder: Path) -> None:
    """Write schedule.json to a folder; the table that it names, if any, must be in the same folder."""
    assert found.table is None or found.table.parent == folder
    write_json(
        folder / SCHEDULE_FILE,
        {
            "format": _FORMAT,
            **{name: getattr(found, name) for name in _FACTS},
            "table": None if found.table is None else found.table.name,
            "settings": {group: asdict(getattr(found, group)) for group in _SETTINGS},
        },
    )


def load_schedule(path: Path | str) -> FoundSchedule:
    """Load the schedule that a sweep found, from the schedule.json that `--export` wrote.

    path: this file, or its folder. The result can be the `schedule` of `GuidedTrainer`; its `.arguments` are keyword
    arguments for transformers' TrainingArguments. Raises InputError if the file is missing, damaged or of another
    version.
    """
    path = user_path(path)
    path = path / SCHEDULE_FILE if path.is_dir() else path
    if not path.is_file():
        raise InputError(
            f"{path} does not exist, so there is no schedule: give a folder that a sweep's --export wrote for a trial "
            "with a teacher, or its schedule.json."
        )
    tree = read_foreign_json(path)
    if tree.get("format") != _FORMAT:
        raise InputError(f"{path} is no schedule of format {_FORMAT}: export it again with --export.")
    try:
        settings = from_dict({**tree["settings"], "tokens": {"context": tree["context"]}})
        facts = {name: tree[name] for name in _FACTS}
        table = tree["table"]
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"{path} is no whole schedule ({error}): export it again with --export.") from None
    return FoundSchedule(
        **facts,
        **{group: getattr(settings, group) for group in _SETTINGS},
        table=None if table is None else path.with_name(Path(table).name),
    )
