"""The schedule that a sweep found, as a file beside the exported model: for others' loops to train on from.

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
TABLE_FILE: Final = "teacher.table"  # of bigrams or of longer n-grams, as teacher/teacher_file.py reads it
_FORMAT: Final = 1  # a change that older programs would misread takes the next number
_SETTINGS: Final = ("teacher", "optimizer", "loop")
_FACTS: Final = ("study", "run", "trial", "eval_loss", "context", "tokenizer_fingerprint")


@dataclass(frozen=True, kw_only=True)
class FoundSchedule:
    """A schedule that did best in a sweep, and the settings that it was found with; weights are not among them."""

    teacher: TeacherConfig  # kind, order and smoothing of the teacher; its schedule, steps, floor and tau
    optimizer: OptimizerConfig  # learning rate, warm-up and the rest of AdamW
    loop: LoopConfig  # optimizer steps, blocks of a step, precision
    context: int  # tokens of a block
    tokenizer_fingerprint: str  # of the tokens that the teacher knows
    study: str
    run: str  # name of the run folder
    trial: str
    eval_loss: float  # that the trial came to, nats per token
    table: Path | None = None  # file of the teacher's table; None: it has none, or none that others can use

    @property
    def arguments(self) -> dict[str, Any]:
        """The optimizer, its rates and the size of a step, as keyword arguments of transformers' TrainingArguments.

        The warm-up of Trainer begins at 0, that of this project one step further.
        """
        optimizer, loop = self.optimizer, self.loop
        return {
            "max_steps": loop.steps,
            "per_device_train_batch_size": loop.batch_blocks,  # of one process: divide it by their number
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
    """Write schedule.json to a folder; the table that it names lies there or nowhere."""
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
    """The schedule that a sweep found, from the schedule.json that its `--export` wrote, or from the folder of it.

    path: that file or folder. `GuidedTrainer` takes what is returned as its `schedule`, and `.arguments` are keyword
    arguments for transformers' TrainingArguments. Raises InputError where there is none, or it is damaged or of another
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
