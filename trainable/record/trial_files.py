"""What a trial left in its folder, read with every check, for the driver and for the tables alike.

    trial.json     what it was to do                    } each with a checksum of itself
    status.json    how it ended, and at which step      }
    metrics.jsonl  its ledger, a checksum in each row

A ledger that lost its last lines would give a whole curve with another final loss: the status knows where it ended. A
ledger with a loss that is no number is that of a trial that diverged, whatever its status says: its last finite loss is
not its last.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from trainable import names
from trainable.errors import DamagedFile, InputError
from trainable.record.files import read_json, write_json
from trainable.record.ledger import Row, read_reports, trained_again


class Status(NamedTuple):
    """How a trial stands."""

    state: str
    reason: str
    last_step: int | None  # of its last report when it ended; None: not known, or no report


def checkpoint_name(trial: str) -> str:
    """Name of a trial's checkpoint within its run."""
    return f"{names.TRIALS_FOLDER}/{trial}/{names.CHECKPOINT_FILE}"


def read_facts(folder: Path) -> dict[str, Any]:
    """What trial.json says. Raises DamagedFile if it is damaged, InputError if it is missing or of another trial."""
    facts = read_json(folder / names.TRIAL_FILE, trained_again(folder))
    if not {"name", "role", "control", "config"} <= facts.keys() or facts["name"] != folder.name:
        raise InputError(f"{folder / names.TRIAL_FILE} is not that of trial {folder.name}: {trained_again(folder)}.")
    return facts


def read_status(folder: Path) -> Status:
    """What status.json says; running if there is none. Raises DamagedFile if it is damaged."""
    path = folder / names.STATUS_FILE
    if not path.exists():
        return Status(names.RUNNING, "", None)
    status = read_json(path, trained_again(folder))
    return Status(status["state"], status["reason"], status.get("last_step"))


def write_status(folder: Path, state: str, reason: str = "") -> None:
    """Replace status.json."""
    reports = read_reports(folder / names.LEDGER_FILE) if state != names.RUNNING else []
    last_step = reports[-1][names.STEP] if reports else None
    write_json(folder / names.STATUS_FILE, {"state": state, "reason": reason, "last_step": last_step})


def read_trial(folder: Path) -> tuple[Status, list[Row]]:
    """How a trial stands, and its reports by step. Raises DamagedFile as the files themselves do.

    A trial with a report that is no number has failed.
    """
    status = read_status(folder)
    reports = read_whole_ledger(folder, status)
    if status.state != names.FAILED and (step := diverged_at(reports)) is not None:
        status = status._replace(state=names.FAILED, reason=diverged(step))
    return status, reports


def diverged_at(reports: Iterable[Row]) -> int | None:
    """The first step whose validation loss, gain or training loss is no number; None if all are.

    A report at step 0 has no training loss.
    """
    for row in reports:
        losses = (names.EVAL_LOSS, names.GAIN, *([names.TRAIN_LOSS] if row[names.STEP] else []))
        values = [row[name] for name in losses if name in row]
        if not all(value is not None and math.isfinite(value) for value in values):
            return int(row[names.STEP])
    return None


def diverged(step: int) -> str:
    """Reason of a trial that failed with a loss that is no number."""
    return f"diverged: a loss is not finite at step {step}"


def read_whole_ledger(folder: Path, status: Status) -> list[Row]:
    """The reports by step. Raises DamagedFile where a row is damaged, or the trial had ended at a later step."""
    reports = read_reports(folder / names.LEDGER_FILE)
    found = reports[-1][names.STEP] if reports else None
    if status.state != names.RUNNING and status.last_step is not None and found != status.last_step:
        raise DamagedFile(
            folder / names.LEDGER_FILE,
            f"it ends at step {found}, its trial ended at step {status.last_step}",
            f"restore it from a copy, or {trained_again(folder)}",
        )
    return reports
