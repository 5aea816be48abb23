"""Check the room on the disk for results before and during a run: on a full disk trial after trial would fail."""

import time
from collections.abc import Callable
from typing import Any

from ray import tune

from sweeps.engine.folder import RunFolder
from sweeps.engine.specs.spec import Spec
from trainable import names
from trainable.config import TrialConfig
from trainable.errors import InputError
from trainable.record.files import MIB, free_bytes, mib, require_room
from trainable.student.presets import PRESETS, preset_parameters

# Measured: a report takes 0.7 KiB in the ledger and 0.7 KiB for TensorBoard; a trial takes 5 KiB more, and 30 KiB in
# Tune's own record, of which a new copy is written beside the old one.
BYTES_A_REPORT, BYTES_A_TRIAL, BYTES_A_RUN = 1536, 80 * 1024, 4 * MIB
ROOM_HINT = "free some space, or give --results DIR"


class RoomWatch(tune.Stopper):  # type: ignore[misc]
    """Stopper that ends a sweep, to be resumed later, while its running trials can still write their next files."""

    def __init__(self, folder: RunFolder, spec: Spec, vocab_size: Callable[[TrialConfig], int], slots: int):
        self._path = folder.path
        self._checkpoint = checkpoint_bytes(spec, vocab_size)
        ended = sum(1 for _, state, _ in folder.trials() if state != names.RUNNING)
        left = spec.trials - ended
        kept = left if spec.base.loop.keep_checkpoint else min(left, 1)  # only that of the best finished trial
        reports = left * (spec.base.loop.steps // spec.base.loop.eval_every + 2)
        self._next = min(slots, max(left, 1)) * self._checkpoint + MIB
        written = kept * self._checkpoint + reports * BYTES_A_REPORT + left * BYTES_A_TRIAL + BYTES_A_RUN
        # A new checkpoint replaces the old one only when it is whole, so each slot needs room for two.
        self.needed = written + 2 * min(slots, left) * self._checkpoint if left > 0 else BYTES_A_RUN
        self._looked = 0.0
        self._full = False

    def check_before(self) -> None:
        """Raise InputError unless there is room for the whole run."""
        require_room(self._path, self.needed, "the checkpoints, ledgers and tables of this run", ROOM_HINT)

    def check_after(self, resume: str) -> None:
        """Raise InputError if this watch ended the sweep, or if the disk is nearly full now."""
        free = free_bytes(self._path)
        if self._full or free < self._next:
            what = "the next checkpoints and reports of its trials"
            raise InputError(
                f"{self._path} has {mib(free)} MiB free but {what} need about {mib(self._next)} MiB: "
                f"free some space, then go on with: {resume}"
            )

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stops a single trial; only `stop_all` ends the sweep."""
        return False

    def stop_all(self) -> bool:
        """Whether the disk is nearly full; checked at most once a second."""
        if time.monotonic() - self._looked > 1:
            self._looked = time.monotonic()
            self._full = self._full or free_bytes(self._path) < self._next
        return self._full


def checkpoint_bytes(spec: Spec, vocab_size: Callable[[TrialConfig], int]) -> int:
    """Size of a checkpoint of the largest model of a run: weights and AdamW's two moments, in float32."""
    return 12 * max(_parameters(config, vocab_size(config)) for config in spec.largest()) + MIB // 8


def _parameters(config: TrialConfig, vocab_size: int) -> int:
    if config.model.name in PRESETS:
        return preset_parameters(config.model, vocab_size)
    import torch

    from trainable.student.model import fresh_model, student_config  # imports transformers

    with torch.device("meta"):
        model = fresh_model(student_config(config.model, vocab_size, config.tokens.context), config.seed)
    return sum(parameter.numel() for parameter in model.parameters())
