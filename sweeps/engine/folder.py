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
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from sweeps.engine.comparison import Comparison
from sweeps.engine.spec import Sweep
from trainable import names
from trainable.errors import InputError
from trainable.files import read_json, write_json
from trainable.ledger import Row
from trainable.paths import require_folder_name
from trainable.plan import TrialPlan
from trainable.trial_files import read_facts, read_status, read_whole_ledger, write_status

Spec = Sweep | Comparison
_LOCK_FILE = ".lock"


class FinishedTrial(NamedTuple):
    """A trial that ran all its steps, and the validation loss it ended with."""

    plan: TrialPlan
    loss: float


@dataclass(frozen=True)
class RunFolder:
    """`results/<study>/<run>/`, an absolute path."""

    path: Path

    @classmethod
    def create(cls, results: Path, study: str) -> "RunFolder":
        """A new folder named by the time; never an existing one."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for attempt in range(100):
            folder = cls(results.expanduser().resolve() / study / (f"{stamp}-{attempt}" if attempt else stamp))
            try:
                folder.make()
                return folder
            except FileExistsError:
                continue
        raise InputError(f"{results / study} has a hundred runs of this second: try again.")

    @classmethod
    def named(cls, results: Path, study: str, name: str) -> "RunFolder":
        """The run of that name, begun or not; nothing is made. Raises InputError where something else lies there."""
        require_folder_name("--run", name)
        folder = cls(results.expanduser().resolve() / study / name)
        others = [path for path in folder.path.glob("*") if not path.name.startswith(".")]
        if others and not folder.begun:
            raise InputError(
                f"{folder.path} has files but no {names.RUN_FILE}, so it is no run: give another --run, or remove it."
            )
        return folder

    @property
    def begun(self) -> bool:
        """Whether there is something to go on with."""
        return (self.path / names.RUN_FILE).is_file()

    def make(self, *, may_exist: bool = False) -> None:
        """The folder itself. Raises FileExistsError unless it may exist, InputError where it cannot be made."""
        try:
            self.path.mkdir(parents=True, exist_ok=may_exist)
        except OSError as error:
            if isinstance(error, FileExistsError) and not may_exist:
                raise
            raise InputError(
                f"results folder {self.path} cannot be made ({error.strerror}): give --results DIR."
            ) from None

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run. Raises InputError if `path` is none."""
        folder = cls(path.expanduser().resolve())
        if not folder.begun:
            raise InputError(
                f"{folder.path} is not a run: it has no {names.RUN_FILE}; give a folder such as results/STUDY/RUN."
            )
        return folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run against a second driver; the lock falls with the process. A run that never began leaves nothing.

        Raises InputError where another driver holds it.
        """
        lock = FileLock(self.path / _LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"run {self.path} is in use by another process: wait for it to end.") from None
        try:
            yield
        finally:
            if not self.begun:
                self._drop()
            lock.release()

    def _drop(self) -> None:
        (self.path / _LOCK_FILE).unlink(missing_ok=True)
        with suppress(OSError):  # not empty: not ours to remove
            self.path.rmdir()

    def read_run(self) -> dict[str, Any]:
        """run.json."""
        return read_json(self.path / names.RUN_FILE, "start a new run")

    def write_run(self, run: dict[str, Any]) -> None:
        """Replace run.json."""
        write_json(self.path / names.RUN_FILE, run)

    @property
    def complete(self) -> bool:
        """Whether a driver has said that every trial of the run has ended."""
        return self.begun and bool(self.read_run().get("complete", False))

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
        """Write how a trial ended; drop the checkpoints that are no longer of use."""
        write_status(self.trial(plan.name), state, reason)
        if state == names.FINISHED:
            for other in self.finished(with_checkpoint=True)[1:]:  # the best is kept: it can be exported
                self._drop_checkpoint(other.plan)
        elif state != names.FAILED:
            self._drop_checkpoint(plan)

    def _drop_checkpoint(self, plan: TrialPlan) -> None:
        if not plan.config.loop.keep_checkpoint:
            (self.trial(plan.name) / names.CHECKPOINT_FILE).unlink(missing_ok=True)

    def finished(self, *, with_checkpoint: bool = False) -> list[FinishedTrial]:
        """The trials that ran all their steps, lowest final validation loss first; or those with a checkpoint alone."""
        kept = names.CHECKPOINT_FILE if with_checkpoint else names.TRIAL_FILE
        folders = [file.parent for file in self.path.glob(f"{names.TRIALS_FOLDER}/*/{kept}")]
        ended = [folder for folder in folders if read_status(folder).state == names.FINISHED]
        trials = [(plan, reports) for plan, _, reports in map(_read_trial, ended) if reports]
        found = [FinishedTrial(plan, reports[-1][names.EVAL_LOSS]) for plan, reports in trials]
        return sorted(found, key=lambda trial: (trial.loss, trial.plan.name))

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
