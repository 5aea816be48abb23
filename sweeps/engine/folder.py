"""The run folder: made once, locked by one driver at a time, read back on resumption.

Its ledgers are the truth; Tune's own files below `tune/` are never read.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sweeps.engine.comparison import Comparison
from sweeps.engine.spec import Sweep
from trainable import names
from trainable.errors import InputError
from trainable.files import read_json, write_json
from trainable.ledger import Row
from trainable.plan import TrialPlan
from trainable.trial_files import read_facts, read_status, read_whole_ledger, write_status

Spec = Sweep | Comparison
_LOCK_FILE = ".lock"


@dataclass(frozen=True)
class RunFolder:
    """`results/<study>/<run>/`, an absolute path."""

    path: Path

    @classmethod
    def create(cls, results: Path, study: str) -> "RunFolder":
        """A new folder named by the time; never an existing one."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for attempt in range(100):
            path = results.expanduser().resolve() / study / (f"{stamp}-{attempt}" if attempt else stamp)
            try:
                path.mkdir(parents=True)
                return cls(path)
            except FileExistsError:
                continue
            except OSError as error:
                raise InputError(
                    f"results folder {path} cannot be made ({error.strerror}): give --results DIR."
                ) from None
        raise InputError(f"{results / study} has a hundred runs of this second: try again.")

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run. Raises InputError if `path` is none."""
        path = path.expanduser().resolve()
        if not (path / names.RUN_FILE).is_file():
            raise InputError(
                f"{path} is not a run: it has no {names.RUN_FILE}; give a folder such as results/STUDY/RUN."
            )
        return cls(path)

    def drop_unused(self) -> None:
        """Remove the folder if the run never got as far as run.json, and nothing else is in it."""
        if (self.path / names.RUN_FILE).exists():
            return
        (self.path / _LOCK_FILE).unlink(missing_ok=True)
        with suppress(OSError):  # not empty: not ours to remove
            self.path.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run against a second driver; the lock falls with the process."""
        lock = FileLock(self.path / _LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"run {self.path} is in use by another process: wait for it to end.") from None
        try:
            yield
        finally:
            lock.release()

    def read_run(self) -> dict[str, Any]:
        """run.json."""
        return read_json(self.path / names.RUN_FILE, "start a new run")

    def write_run(self, run: dict[str, Any]) -> None:
        """Replace run.json."""
        write_json(self.path / names.RUN_FILE, run)

    def spec(self) -> Spec:
        """What the run is to do."""
        tree = self.read_run()["spec"]
        return Comparison.from_dict(tree) if tree.get("kind") == "comparison" else Sweep.from_dict(tree)

    def trial(self, name: str) -> Path:
        """The folder of a trial."""
        return self.path / names.TRIALS_FOLDER / name

    def open_trial(self, plan: TrialPlan) -> None:
        """Write the plan before the trial runs, so that a killed driver's trials are known."""
        write_json(self.trial(plan.name) / names.TRIAL_FILE, plan.to_dict())

    def status(self, name: str) -> tuple[str, str]:
        """(state, reason) as last written; running if nothing was."""
        status = read_status(self.trial(name))
        return status.state, status.reason

    def close_trial(self, plan: TrialPlan, state: str, reason: str = "") -> None:
        """Write how a trial ended; drop its checkpoint unless it is to be kept."""
        write_status(self.trial(plan.name), state, reason)
        if state != names.FAILED and not plan.config.loop.keep_checkpoint:
            (self.trial(plan.name) / names.CHECKPOINT_FILE).unlink(missing_ok=True)

    def trials(self) -> list[tuple[TrialPlan, str, list[Row]]]:
        """(plan, state, reports) of every trial that was begun, oldest first."""
        files = sorted(self.path.glob(f"{names.TRIALS_FOLDER}/*/{names.TRIAL_FILE}"), key=lambda p: p.stat().st_mtime)
        return [_read_trial(file.parent) for file in files]

    def new_attempt(self) -> str:
        """Name of the next of Tune's own folders below `tune/`."""
        taken = [int(m[1]) for p in self.path.glob("tune/*") if (m := re.fullmatch(r"attempt-(\d+)", p.name))]
        return f"attempt-{max(taken, default=0) + 1}"


def _read_trial(folder: Path) -> tuple[TrialPlan, str, list[Row]]:
    plan, status = TrialPlan.from_dict(read_facts(folder)), read_status(folder)
    return plan, status.state, read_whole_ledger(folder, status)


def check_writable(path: Path) -> None:
    """Raise InputError unless files can be made in `path`."""
    if not os.access(path, os.W_OK):
        raise InputError(f"{path} cannot be written to: change its permissions or give --results DIR.")
