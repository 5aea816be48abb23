"""The run folder: made once, locked by one driver at a time, read back on resumption.

Results come only from its ledgers; Tune's own files below `tune/` are never read. For a run behind a URI, files written
here are sent there, and files of trials are fetched before they are read (trainable/record/run_files.py).
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sweeps.engine.specs.groups import CHOOSING
from sweeps.engine.specs.spec import Spec, spec_from_dict
from trainable import names
from trainable.errors import InputError
from trainable.plan import TrialPlan
from trainable.record.files import read_json, require_folder_name
from trainable.record.ledger import Row
from trainable.record.locks import InUse, remove_lock, try_lock
from trainable.record.run_files import RECORDS, RunFiles, run_files
from trainable.record.run_record import RecordError, RunRecord
from trainable.record.store import StoreError, below, is_uri
from trainable.record.trial_files import checkpoint_name, read_facts, read_status, read_trial, write_status


class FinishedTrial(NamedTuple):
    """A trial that ran all its steps, and the validation loss it ended with."""

    plan: TrialPlan
    loss: float


@dataclass(frozen=True)
class RunFolder:
    """`results/<study>/<run>/`, on a path or behind a URI."""

    files: RunFiles

    @property
    def path(self) -> Path:
        """Absolute path of the folder in which this process reads and writes."""
        return self.files.path

    @property
    def address(self) -> str:
        """Path or URI of the run."""
        return self.files.address

    @classmethod
    def at(cls, results: Path | str, *inside: str) -> "RunFolder":
        """The run in the folder `inside` of the results, or at `results` itself; nothing is created or fetched."""
        if is_uri(str(results)):
            return cls(run_files(below(str(results), *inside)))
        return cls(run_files(Path(results).expanduser().resolve().joinpath(*inside)))

    @classmethod
    def create(cls, results: Path | str, study: str) -> "RunFolder":
        """Create a new run folder, named by the time; an existing one is never taken."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for attempt in range(100):
            folder = cls.at(results, study, f"{stamp}-{attempt}" if attempt else stamp)
            try:
                folder.make()
                return folder
            except FileExistsError:
                continue
        raise InputError(f"{results} has a hundred runs of {study} from this second: try again.")

    @classmethod
    def named(cls, results: Path | str, study: str, name: str) -> "RunFolder":
        """The run of that name, begun or not; nothing is created. Raises InputError if its folder has other files."""
        require_folder_name("--run", name)
        folder = cls.at(results, study, name)
        folder.files.fetch_records()
        if not folder.begun and folder.files.exist():
            raise InputError(
                f"{folder.address} has files but no {names.RUN_FILE}, so it is no run: give another --run, or remove "
                "it."
            )
        return folder

    @property
    def begun(self) -> bool:
        """Whether the run has begun: it has a run.json."""
        return self.files.fetched(names.RUN_FILE).is_file()

    @classmethod
    def check_results(cls, results: Path | str) -> None:
        """Raise InputError if a results folder cannot be made; a URI is checked only when a run begins."""
        if isinstance(results, Path):
            there = next(place for place in (results, *results.absolute().parents) if place.exists())
            if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
                raise InputError(f"results folder {results} cannot be made in {there}: give --results DIR.")

    def make(self, *, may_exist: bool = False) -> None:
        """Make the folder. Raises FileExistsError if it exists and must not, InputError if it cannot be made."""
        try:
            self.files.make(may_exist=may_exist)
        except StoreError:
            raise
        except OSError as error:
            if isinstance(error, FileExistsError) and not may_exist:
                raise
            raise InputError(
                f"results folder {self.path} cannot be made ({error.strerror}): give --results DIR."
            ) from None

    @classmethod
    def open(cls, address: Path | str) -> "RunFolder":
        """Open an existing run. Raises InputError if there is none at `address`."""
        folder = cls.at(address)
        folder.files.fetch_records()
        if not folder.begun:
            raise InputError(
                f"{folder.address} is not a run: it has no {names.RUN_FILE}; give a folder such as results/STUDY/RUN."
            )
        return folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run against a second driver; the lock ends with the process.

        The folder of a run that never began is removed at the end. Raises InputError if another driver has the lock.
        """
        try:
            self.files.lock.parent.mkdir(parents=True, exist_ok=True)
            lock = try_lock(self.files.lock)
        except InUse as other:
            raise InputError(f"run {self.address} is in use by another process: {other.advice}.") from None
        except OSError as error:
            raise InputError(
                f"run {self.address} cannot be locked ({self.files.lock}: {error.strerror or error}): change its "
                "permissions, or give --results DIR."
            ) from None
        try:
            self.files.fetch_records()  # the previous driver may have written until now
            yield
        finally:
            if not self.begun:
                self._drop()
            lock.release()

    def _drop(self) -> None:
        remove_lock(self.files.lock)
        with suppress(OSError):  # not empty: not ours to remove
            self.path.rmdir()

    def record(self) -> RunRecord:
        """Read run.json. Raises InputError if it is damaged, RecordError if another version wrote it."""
        with self.files.naming():
            path = self.files.fetched(names.RUN_FILE)
            return RunRecord.from_dict(read_json(path, "start a new run"), path)

    def write_record(self, record: RunRecord) -> None:
        """Replace run.json."""
        self.files.write_json(names.RUN_FILE, record.to_dict())

    @property
    def complete(self) -> bool:
        """Whether a driver has recorded that every trial of the run has ended."""
        return self.begun and self.record().complete

    def spec(self) -> Spec:
        """Spec of the run. Raises InputError if run.json is damaged, or of another version."""
        try:
            tree = self.record().spec
        except RecordError as error:
            raise self._another_version(error.problem) from None
        try:
            return spec_from_dict(tree)
        except (KeyError, TypeError, AttributeError, InputError) as error:
            raise self._another_version(error) from None

    def _another_version(self, problem: object) -> InputError:
        return InputError(
            f"{names.RUN_FILE} of {self.address} is not of this version of the program ({problem}): resume it with "
            "the version that its git_commit names, or start a new run."
        )

    def trial(self, name: str) -> Path:
        """The folder of a trial."""
        return self.path / names.TRIALS_FOLDER / name

    def open_trial(self, plan: TrialPlan) -> None:
        """Write the plan of a trial before it runs, so that the trial is known even if the driver is killed."""
        self.files.write_json(f"{names.TRIALS_FOLDER}/{plan.name}/{names.TRIAL_FILE}", plan.to_dict())

    def status(self, name: str) -> tuple[str, str]:
        """State and reason of a trial as last written; a trial without a status is running."""
        status = read_status(self._fetched_trial(name))
        return status.state, status.reason

    def close_trial(self, plan: TrialPlan, state: str, reason: str = "") -> None:
        """Write how a trial ended, and remove checkpoints that are no longer needed."""
        folder = self._fetched_trial(plan.name)
        with self.files.writing():
            write_status(folder, state, reason)
        if state == names.FINISHED:
            for other in self.finished(with_checkpoint=True)[1:]:  # the best one is kept for --export
                self._drop_unless_kept(other.plan)
        elif state != names.FAILED:
            self._drop_unless_kept(plan)

    def _fetched_trial(self, name: str) -> Path:
        return self.files.fetched(f"{names.TRIALS_FOLDER}/{name}", only=RECORDS)

    def _drop_unless_kept(self, plan: TrialPlan) -> None:
        if not plan.config.loop.keep_checkpoint:
            self.drop_checkpoint(plan.name)

    def drop_checkpoint(self, name: str) -> None:
        """Remove the checkpoint of a trial, if it has one."""
        self.files.remove(checkpoint_name(name))

    def checkpoint(self, name: str) -> Path:
        """Path of a trial's checkpoint, which may not exist."""
        return self.files.fetched(checkpoint_name(name))

    def finished(self, *, with_checkpoint: bool = False) -> list[FinishedTrial]:
        """Trials that ran all their steps, lowest final validation loss first; if asked, only those with a checkpoint.

        Confirmations of a search come before its other trials: they are measured on other validation text, and only
        they count for the verdict.
        """
        if with_checkpoint:
            begun = self.files.trials_with(names.CHECKPOINT_FILE)
        else:
            begun = {file.parent.name for file in self.path.glob(f"{names.TRIALS_FOLDER}/*/{names.TRIAL_FILE}")}
        ended = [self.trial(name) for name in begun if read_status(self.trial(name)).state == names.FINISHED]
        trials = [trial for trial in map(_read_trial, ended) if trial[1] == names.FINISHED and trial[2]]
        found = [FinishedTrial(plan, reports[-1][names.EVAL_LOSS]) for plan, _, reports in trials]
        return sorted(
            found,
            key=lambda trial: (trial.plan.config.corpus.eval_half == CHOOSING, trial.loss, trial.plan.name),
        )

    def trials(self) -> list[tuple[TrialPlan, str, list[Row]]]:
        """(plan, state, reports) of every trial that was begun, oldest first."""
        files = self.files.fetched(names.TRIALS_FOLDER, only=RECORDS).glob(f"*/{names.TRIAL_FILE}")
        oldest_first = sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
        return [_read_trial(file.parent) for file in oldest_first]

    def reached(self) -> dict[str, int]:
        """{trial: its last reported step} of every trial that was begun."""
        return {plan.name: max((row[names.STEP] for row in reports), default=0) for plan, _, reports in self.trials()}

    def new_attempt(self) -> str:
        """Name of the next folder for Tune's own files, below `tune/`."""
        taken = [
            int(m[1]) for p in self.path.glob(f"{names.TUNE_FOLDER}/*") if (m := re.fullmatch(r"attempt-(\d+)", p.name))
        ]
        return f"attempt-{max(taken, default=0) + 1}"


def _read_trial(folder: Path) -> tuple[TrialPlan, str, list[Row]]:
    plan, (status, reports) = TrialPlan.from_dict(read_facts(folder)), read_trial(folder)
    return plan, status.state, reports
