"""Read the files in a trial's folder with every check, for the driver and for the tables alike.

    trial.json     name, role, control, settings        } each with a checksum of itself
    status.json    how it ended, and at which step      }
    metrics.jsonl  its ledger, a checksum in each row

- A ledger that lost its last lines would look like a whole curve with another final loss, so the status has the step at
  which the trial ended.
- A ledger with a loss that is not finite is that of a trial that diverged, whatever its status says: the last finite
  loss is not the final one.
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
    """Status of a trial, as status.json has it."""

    state: str
    reason: str
    last_step: int | None  # step of its last report when it ended; None: not known, or no report
    diverged_at: int | None = None  # step of the first loss that was not finite


def checkpoint_name(trial: str) -> str:
    """Name of a trial's checkpoint within its run."""
    return f"{names.TRIALS_FOLDER}/{trial}/{names.CHECKPOINT_FILE}"


def read_facts(folder: Path) -> dict[str, Any]:
    """Read trial.json. Raises DamagedFile if it is damaged, InputError if it is missing or of another trial."""
    facts = read_json(folder / names.TRIAL_FILE, trained_again(folder))
    if not {"name", "role", "control", "config"} <= facts.keys() or facts["name"] != folder.name:
        raise InputError(f"{folder / names.TRIAL_FILE} is not that of trial {folder.name}: {trained_again(folder)}.")
    return facts


def read_status(folder: Path) -> Status:
    """Read status.json; a trial without one is running. Raises DamagedFile if it is damaged."""
    path = folder / names.STATUS_FILE
    if not path.exists():
        return Status(names.RUNNING, "", None)
    status = read_json(path, trained_again(folder))
    return Status(status["state"], status["reason"], status.get("last_step"), status.get("diverged_at"))


def write_status(folder: Path, state: str, reason: str = "", diverged_at: int | None = None) -> None:
    """Replace status.json; a trial that fails keeps the step at which it had diverged."""
    if state == names.FAILED and diverged_at is None:
        diverged_at = read_status(folder).diverged_at
    reports = read_reports(folder / names.LEDGER_FILE) if state != names.RUNNING else []
    last_step = reports[-1][names.STEP] if reports else None
    said = {"state": state, "reason": reason, "last_step": last_step}
    write_json(folder / names.STATUS_FILE, said if diverged_at is None else said | {"diverged_at": diverged_at})


def read_trial(folder: Path) -> tuple[Status, list[Row]]:
    """Read a trial's status and its reports by step. Raises DamagedFile if either file is damaged.

    A trial with a loss or gain that is not finite has failed, whatever status.json says.
    """
    status = read_status(folder)
    reports = read_whole_ledger(folder, status)
    if status.diverged_at is None and (step := diverged_at(reports)) is not None:
        reason = status.reason if status.state == names.FAILED else diverged(step)
        status = status._replace(state=names.FAILED, reason=reason, diverged_at=step)
    return status, reports


def diverged_at(reports: Iterable[Row]) -> int | None:
    """First step whose validation loss, gain or training loss is not finite; None if all are finite.

    A report at step 0 has no training loss.
    """
    for row in reports:
        losses = (names.EVAL_LOSS, names.GAIN, *([names.TRAIN_LOSS] if row[names.STEP] else []))
        values = [row[name] for name in losses if name in row]
        if not all(value is not None and math.isfinite(value) for value in values):
            return int(row[names.STEP])
    return None


def diverged(step: int) -> str:
    """Reason in the status of a trial that failed with a loss that is not finite."""
    return f"diverged: a loss is not finite at step {step}"


def read_whole_ledger(folder: Path, status: Status) -> list[Row]:
    """Read the reports by step. Raises DamagedFile if a row is damaged, or the last step is not that of the status."""
    reports = read_reports(folder / names.LEDGER_FILE)
    found = reports[-1][names.STEP] if reports else None
    if status.state != names.RUNNING and status.last_step is not None and found != status.last_step:
        raise DamagedFile(
            folder / names.LEDGER_FILE,
            f"it ends at step {found}, its trial ended at step {status.last_step}",
            f"restore it from a copy, or {trained_again(folder)}",
        )
    return reports
