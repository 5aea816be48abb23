"""Checkpoint: all mutable state of a run in one file that is whole or absent, and loads without running code.

Batches, schedules and the learning rate are functions of the step, so weights, optimizer, scaler and counters are the
whole state. A SHA-256 follows the payload, so a damaged file is never used in part. A damaged file costs the steps up
to it and nothing else, because all reports of a run are in its ledger.
"""

import hashlib
import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from trainable.errors import DamagedFile, InputError
from trainable.record.files import atomic_file

_DIGEST_BYTES = hashlib.sha256().digest_size
_REMEDY = "delete it to train again from step 0"


class ForeignCheckpoint(InputError):
    """A file that is not damaged, but from which a run cannot go on. `reason` follows `path` in the message."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path} {reason}: {_REMEDY}.")
        self.path, self.reason = path, reason


@dataclass(kw_only=True)
class RunState:
    """Counters that change while a run trains."""

    step: int = 0  # optimizer steps done
    tokens: int = 0  # targets trained on
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    # since the last report
    recent_loss: float = 0.0  # sum over steps of the mean loss, nats per token
    recent_steps: int = 0
    recent_tokens: int = 0
    recent_seconds: float = 0.0
    recent_norm: float = 0.0  # sum of the gradient norms before clipping, over steps with a finite norm
    recent_norms: int = 0  # number of steps with a finite norm; in float16 a step that overflows is skipped
    recent_clipped: int = 0  # number of steps whose gradient was clipped

    def begin_report(self) -> None:
        """Reset the fields since the last report."""
        for one in fields(self):
            if one.name.startswith("recent_"):
                setattr(self, one.name, one.default)


def save_checkpoint(path: Path, config_fingerprint: str, state: RunState, **parts: dict[str, Any]) -> None:
    """Write the run's state and the state dicts in `parts` to `path`, atomically."""
    buffer = io.BytesIO()
    counters = {f.name: getattr(state, f.name) for f in fields(RunState)}
    torch.save({"config": config_fingerprint, "state": counters, **parts}, buffer)
    payload = buffer.getbuffer()
    with atomic_file(path) as stream:
        stream.write(payload)
        stream.write(hashlib.sha256(payload).digest())


def load_checkpoint(path: Path, config_fingerprint: str) -> tuple[RunState, dict[str, dict[str, Any]]]:
    """Load state and state dicts; the inverse of `save_checkpoint`.

    Raises DamagedFile if a byte differs from what was written. Raises ForeignCheckpoint if the file is not a checkpoint
    of this project (no code in it is run), or is of a run with other settings.
    """
    content = memoryview(path.read_bytes())
    payload, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != bytes(digest):
        raise DamagedFile(path, "its checksum does not match", _REMEDY)
    try:
        parts = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        found, state = parts.pop("config"), RunState(**parts.pop("state"))
    except Exception as error:  # pickle.UnpicklingError and others: the file is not a checkpoint of this project
        raise ForeignCheckpoint(path, f"is no checkpoint ({type(error).__name__})") from None
    if found != config_fingerprint:
        raise ForeignCheckpoint(path, "is the checkpoint of a run with other settings")
    return state, parts
