"""A checkpoint file is loaded whole or refused, and loading runs no code from the file."""

import hashlib
import io
import pickle
from pathlib import Path

import pytest
import torch

from trainable.errors import DamagedFile
from trainable.student.checkpoint import ForeignCheckpoint, RunState, load_checkpoint, save_checkpoint

STATE = RunState(step=7, tokens=70, train_seconds=1.5, recent_loss=0.1, recent_steps=2)


def saved(folder: Path) -> Path:
    path = folder / "checkpoint.pt"
    save_checkpoint(path, "settings", STATE, model={"w": torch.arange(5.0)}, optimizer={"state": {}})
    return path


def test_a_loaded_checkpoint_equals_the_saved_one(tmp_path: Path) -> None:
    state, parts = load_checkpoint(saved(tmp_path), "settings")
    assert state == STATE
    assert parts["model"]["w"].tolist() == [0, 1, 2, 3, 4]
    assert parts["optimizer"] == {"state": {}}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"], "a temporary file is left"


@pytest.mark.parametrize("where", [0, 100, 0.5, -40, -1])
def test_a_flipped_bit_anywhere_is_found(tmp_path: Path, where: float) -> None:
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[int(where * len(content)) if isinstance(where, float) else where] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"checkpoint\.pt is damaged") as caught:
        load_checkpoint(path, "settings")
    assert (caught.value.path, caught.value.reason) == (path, "its checksum does not match")


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_a_truncated_file_is_found(tmp_path: Path, kept: float) -> None:
    path = saved(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(DamagedFile, match=r"checkpoint\.pt is damaged"):
        load_checkpoint(path, "settings")


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForeignCheckpoint, match="other settings") as caught:
        load_checkpoint(saved(tmp_path), "others")
    assert caught.value.path == tmp_path / "checkpoint.pt"


def test_a_torch_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"model": {}}, buffer)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())
    with pytest.raises(ForeignCheckpoint, match="is no checkpoint"):
        load_checkpoint(path, "settings")


def test_a_file_that_would_run_code_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    buffer = io.BytesIO()
    torch.save({"config": "settings", "state": Payload()}, buffer, pickle_module=pickle)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())
    with pytest.raises(ForeignCheckpoint, match="is no checkpoint"):
        load_checkpoint(path, "settings")
    assert not (tmp_path / "ran").exists()
