"""The state of a run that is under way, as plain data for its page; only new parts of the run folder are read.

    >>> live = LiveRun(run_files("results/schedule_search/my_run"), called="results/schedule_search/my_run")
    >>> live.refresh()  # whether anything is new since the last call
    True
    >>> live.state()["counts"]
    {'planned': 54, 'ended': 12, 'running': 2, 'left': 40}

Nothing is written and no lock is taken, so a page never disturbs the run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from analysis.page.live_plan import plans_of, time_left
from analysis.page.live_trials import LiveTrial
from trainable import names
from trainable.errors import InputError
from trainable.record.ledger import LedgerTail
from trainable.record.locks import is_held
from trainable.record.run_files import RunFiles
from trainable.record.run_record import RunRecord, read_record
from trainable.record.store import StoreError

# preparing: run.json does not exist yet; running: a driver holds the run; waiting: the run has not ended, and no driver
# of this machine holds it (the driver was killed, or runs elsewhere); over: the driver has ended the run.
Phase = Literal["preparing", "running", "waiting", "over"]
QUIET_SECONDS: Final = 2.0  # error that the clock of another machine may have


class LiveRun:
    """A run folder that is read again as it grows."""

    def __init__(self, files: RunFiles, called: str):
        """files: files of the run, which need not have begun; called: name of the run in texts for users."""
        self.called = called
        self._files = files
        self._record: RunRecord | None = None
        self._record_stamp: tuple[int, int] | None = None
        self._trials: dict[str, LiveTrial] = {}
        self._rungs = LedgerTail(files.path / names.RUNGS_FILE)
        self._restarts = LedgerTail(files.path / names.RESTARTS_FILE)
        self._problems: dict[str, str] = {}  # file or store -> problem
        self._phase: Phase = "preparing"

    @property
    def record(self) -> RunRecord | None:
        """The content of run.json; None before the file exists."""
        return self._record

    @property
    def trials(self) -> list[LiveTrial]:
        """The trials that have begun."""
        return list(self._trials.values())

    @property
    def phase(self) -> Phase:
        """Phase of the run at the last refresh."""
        return self._phase

    def refresh(self) -> bool:
        """Read what is new and return whether `state` changed. Unreadable files become problems in the state."""
        before = dict(self._problems), set(self._trials)
        with self._noted("store"):
            self._files.fetch_records()
        changes = [self._read("run.json", self._refresh_record)]
        if self._record is not None:
            changes += [self._read("rungs", self._rungs.refresh), self._read("restarts", self._restarts.refresh)]
            changes += [self._read(folder.name, partial(self._refresh_trial, folder)) for folder in self._folders()]
        phase = self._phase_now()
        changes += [phase != self._phase, before != (self._problems, set(self._trials))]
        self._phase = phase
        return any(changes)

    def state(self) -> dict[str, Any]:
        """The content of the page as plain values, from the run's files alone. Times are in seconds since the epoch."""
        if self._record is None:
            return {"phase": self._phase, "problems": list(self._problems.values())}
        plans = plans_of(self._record, self.trials)
        counts = {name: sum(getattr(plan, name) for plan in plans) for name in ("planned", "ended", "running", "left")}
        last = max((trial.reports[-1][names.TIMESTAMP] for trial in self.trials if trial.reports), default=None)
        left = time_left(plans, self.trials)
        return {
            "phase": self._phase,
            "title": f"{self._record.study}: {self._record.run}",
            "question": self._record.question,
            "called": self.called,
            "counts": counts,
            "reported": last,
            "ends": None if left is None or last is None else last + left,
            "groups": [plan.row() for plan in plans],
            "trials": [trial.row() for trial in sorted(self.trials, key=_running_first)],
            "stopped": [_stop(row) for row in self._rungs.rows if row["stop"]],
            "restarts": self._restarts.rows,
            "problems": list(self._problems.values()),
        }

    def _folders(self) -> Iterator[Path]:
        """Folders of the trials that have begun, by name. Trials whose folder is gone are dropped."""
        found = sorted((self._files.path / names.TRIALS_FOLDER).glob(f"*/{names.TRIAL_FILE}"))
        gone = self._trials.keys() - {path.parent.name for path in found}
        for name in gone:
            del self._trials[name]
        return (path.parent for path in found)

    def _refresh_trial(self, folder: Path) -> bool:
        assert self._record is not None
        is_new = folder.name not in self._trials
        if is_new:
            self._trials[folder.name] = LiveTrial(folder, self._record)
        return self._trials[folder.name].refresh() or is_new

    def _refresh_record(self) -> bool:
        """Read run.json if it changed, and return whether it did."""
        path = self._files.path / names.RUN_FILE
        if not path.exists():
            return False
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp == self._record_stamp:
            return False
        self._record, self._record_stamp = read_record(self._files.path), stamp
        return True

    def _read(self, what: str, read: Callable[[], bool]) -> bool:
        is_new = False
        with self._noted(what):
            is_new = read()
        return is_new

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        """Record an error of the block as the problem of `what`, until a block for `what` succeeds."""
        try:
            yield
        except (InputError, StoreError) as error:
            self._problems[what] = self._files.shown(str(error))
        except OSError as error:
            self._problems[what] = f"{self._files.shown(error.filename or what)} cannot be read ({error.strerror})."
        else:
            self._problems.pop(what, None)

    def _phase_now(self) -> Phase:
        if self._record is None:
            return "preparing"
        held = is_held(self._files.lock)
        if held:
            return "running"
        ended = _seconds(self._record.ended)
        reported = [trial.reports[-1][names.TIMESTAMP] for trial in self.trials if trial.reports]
        if self._record.complete or (ended is not None and max(reported, default=0.0) <= ended + QUIET_SECONDS):
            return "over"
        return "waiting"


def _seconds(stamp: str | None) -> float | None:
    return None if stamp is None else datetime.fromisoformat(stamp).timestamp()


def _running_first(trial: LiveTrial) -> tuple[Any, ...]:
    """Sort key of the table: running trials first, then the others, each by latest report."""
    reported = trial.reports[-1][names.TIMESTAMP] if trial.reports else 0.0
    return not trial.is_running, -reported, trial.name


def _stop(row: dict[str, Any]) -> dict[str, Any]:
    """The facts of a trial that ASHA stopped: step, gain and cutoff."""
    kept = ("trial", "layers", "arm", names.STEP, names.GAIN, "cutoff")
    return {name: row[name] for name in kept}
