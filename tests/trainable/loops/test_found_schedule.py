"""schedule.json: a schedule is read back as it was written, and any other file is refused in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainable.config import LoopConfig, OptimizerConfig, TeacherConfig
from trainable.errors import InputError
from trainable.loops.found_schedule import FoundSchedule, load_schedule, save_schedule


def found(folder: Path) -> FoundSchedule:
    return FoundSchedule(
        teacher=TeacherConfig(
            schedule="exponential",
            steps=30,
            min_weight=0.05,
            tau=6.5,
            kind="ngram",
            order=3,
            smoothing="modified_kneser_ney",
        ),
        optimizer=OptimizerConfig(lr=2e-3, warmup_steps=7, beta2=0.95),
        loop=LoopConfig(steps=60, batch_blocks=4, accumulation=2, precision="bfloat16"),
        context=64,
        tokenizer_fingerprint="abc",
        study="schedule_search",
        run="2026-11-26_a",
        trial="trigram-s0",
        eval_loss=4.25,
        table=folder / "teacher.table",
    )


def test_a_schedule_is_read_back_from_its_file_and_from_its_folder(tmp_path: Path) -> None:
    save_schedule(found(tmp_path), tmp_path)
    assert load_schedule(tmp_path) == load_schedule(str(tmp_path / "schedule.json")) == found(tmp_path)


def test_training_arguments_accept_the_arguments_of_a_schedule(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="TrainingArguments need accelerate, which the extra [hf] installs")
    arguments = transformers.TrainingArguments(str(tmp_path), use_cpu=True, **found(tmp_path).arguments)
    assert (arguments.learning_rate, arguments.warmup_steps, arguments.max_steps) == (2e-3, 7, 60)
    assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == (4, 2)
    assert (arguments.adam_beta2, arguments.max_grad_norm, arguments.bf16) == (0.95, 1.0, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "is no schedule of format 1: export it again"),
        ({"trial": None, "context": "long"}, "is no whole schedule .*tokens.context is 'long'"),
        ({"settings": {"teacher": {"schedule": "cosinus"}}}, "is no whole schedule .*cosinus"),
        ({"settings": []}, "is no whole schedule"),
    ],
)
def test_a_file_that_is_no_schedule_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    save_schedule(found(tmp_path), tmp_path)
    tree = json.loads((tmp_path / "schedule.json").read_text())
    tree.pop("checksum")
    (tmp_path / "schedule.json").write_text(json.dumps(tree | changes))
    with pytest.raises(InputError, match=said):
        load_schedule(tmp_path)


def test_a_table_is_searched_only_beside_its_schedule(tmp_path: Path) -> None:
    save_schedule(found(tmp_path), tmp_path)
    tree = json.loads((tmp_path / "schedule.json").read_text())
    tree.pop("checksum")
    (tmp_path / "schedule.json").write_text(json.dumps(tree | {"table": "../../elsewhere/teacher.table"}))
    assert load_schedule(tmp_path).table == tmp_path / "teacher.table"


def test_the_message_about_a_missing_schedule_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="so there is no schedule: give a folder that a sweep's --export wrote"):
        load_schedule(tmp_path)
