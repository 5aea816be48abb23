"""Sweeps in separate processes, which tests of faults watch and kill. Linux only (/proc)."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd
from paths import ROOT, child_environment
from small_corpus import small_sentences

from analysis.results import load
from trainable import names
from trainable.record.ledger import read_lines

SMALL_STUDY = Path(__file__).with_name("small_study.py")
SEARCH = ROOT / "sweeps" / "schedule_search.py"
PATIENCE = 900  # seconds that a test waits on a busy machine before it fails


class LiveSweep:
    """A running sweep: its driver, its run folder, its processes."""

    def __init__(
        self,
        script: Path,
        folder: Path,
        *words: str,
        environment: dict[str, str] | None = None,
        where: Path | None = None,
        before: Sequence[str] = (),
        dashboard: bool = False,
    ):
        """Start `script` on the small corpus, with its results below `folder`.

        where: the working directory; before: the first words of the command line, such as `setpriv ...`; dashboard:
        whether Ray starts its dashboard, which takes a sixth of the processor time of a small sweep.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.results = folder / "results"
        self._before = set(self._runs())
        self._output = folder / f"output-{time.monotonic_ns()}.txt"
        new = [] if "--resume" in words else ["--results", str(self.results), "--corpus", str(corpus_file(folder))]
        command = [*before, sys.executable, str(script), *new, *words, *([] if dashboard else ["--no-dashboard"])]
        with open(self._output, "w") as stream:
            self.driver = subprocess.Popen(
                command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=child_environment(PYTHONUNBUFFERED="1", **(environment or {})),
                start_new_session=True,
                cwd=where,
            )

    def __enter__(self) -> "LiveSweep":
        return self

    def __exit__(self, *_: object) -> None:
        if self.driver.poll() is None:
            self.driver.kill()
            self.driver.wait()

    def _runs(self) -> Iterator[Path]:
        return (file.parent for file in self.results.glob(f"*/*/{names.RUN_FILE}"))

    @property
    def printed(self) -> str:
        """Standard output and error so far."""
        return self._output.read_text()

    @property
    def run(self) -> Path:
        """The run folder: the newest below the results."""
        return max(self._runs(), key=lambda path: path.name)

    def end(self) -> int:
        """Wait for the driver to end by itself, and return its exit status."""
        return self.driver.wait(timeout=PATIENCE)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the driver a signal."""
        os.kill(self.driver.pid, number)

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Check the condition again and again until it holds; fail if the driver ends before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.driver.poll() is None, f"the sweep ended before {what}:\n{self.printed}"
            assert time.monotonic() < deadline, f"waited too long for {what}:\n{self.printed}"
            time.sleep(0.02)

    def wait_slowly(self, worker: int, condition: Callable[[], object], what: str) -> None:
        """As `wait_for`, while a worker runs a tenth of the time: its trial has not ended before others saw it."""

        def after_a_slice() -> bool:
            os.kill(worker, signal.SIGCONT)
            time.sleep(0.05)
            os.kill(worker, signal.SIGSTOP)
            time.sleep(0.45)
            return bool(condition())

        try:
            self.wait_for(after_a_slice, what)
        finally:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGCONT)

    def wait_for_trial(self, role: str, *, after_step: int = 1) -> str:
        """Wait until a running trial of this role has reported and kept a checkpoint; return its name."""
        found: list[str] = []

        def there() -> bool:
            found[:] = [name for name in self.running(role) if last_step(self.run, name) >= after_step]
            return bool(found)

        self.wait_for(there, f"a {role} trial was half-way")
        return found[0]

    def running(self, role: str) -> list[str]:
        """Names of the trials of a role that run now."""
        runs = list(self._runs())
        plans = [path for run in runs for path in run.glob(f"{names.TRIALS_FOLDER}/*/{names.TRIAL_FILE}")]
        of_role = [path.parent for path in plans if json.loads(path.read_text())["role"] == role]
        return [folder.name for folder in of_role if status(folder)["state"] == names.RUNNING]

    def processes(self) -> set[int]:
        """Ids of the driver and all its descendants: Ray's servers and the workers."""
        return {self.driver.pid} | descendants(self.driver.pid)

    def worker(self, trial: str) -> int | None:
        """The process that trains a trial now: the one that writes its TensorBoard file."""
        folder = str(self.run / names.TRIALS_FOLDER / trial)
        return next((pid for pid in all_processes() if any(f.startswith(folder) for f in open_files(pid))), None)

    def wait_for_worker(self, trial: str) -> int:
        """Wait for a trial's first report, and return the process of its worker."""
        found: list[int] = []

        def there() -> bool:
            if any(self._runs()):
                found[:] = [pid for pid in [self.worker(trial)] if pid is not None]
            return bool(found)

        self.wait_for(there, f"trial {trial} had a worker")
        return found[0]

    def kill_worker(self, trial: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to the worker of a trial after its first report; return the worker's process."""
        worker = self.wait_for_worker(trial)
        os.kill(worker, number)
        return worker


def corpus_file(folder: Path) -> Path:
    """The small corpus, the same in every folder of a test run."""
    path = folder / "sentences.txt"
    if not path.exists():
        path.write_text("".join(f"{sentence}\n" for sentence in small_sentences()), encoding="utf-8")
    return path


def finish(script: Path, folder: Path, *words: str, environment: dict[str, str] | None = None) -> LiveSweep:
    """Run a sweep undisturbed to its end."""
    with LiveSweep(script, folder, *words, environment=environment) as sweep:
        sweep.end()
    return sweep


# --- what a run folder says ---


def status(trial: Path) -> dict[str, str]:
    """State and reason in a trial's folder."""
    path = trial / names.STATUS_FILE
    return json.loads(path.read_text()) if path.exists() else {"state": names.RUNNING, "reason": ""}


def states(run: Path) -> dict[str, str]:
    """Trial -> state."""
    return {path.parent.name: status(path.parent)["state"] for path in run.glob(f"trials/*/{names.TRIAL_FILE}")}


def ledgers(run: Path, state: str | None = None) -> dict[str, bytes]:
    """Trial -> bytes of its ledger, for the trials in a state, or for all."""
    files = run.glob(f"trials/*/{names.LEDGER_FILE}")
    return {file.parent.name: file.read_bytes() for file in files if state in (None, status(file.parent)["state"])}


def last_step(run: Path, trial: str) -> int:
    """The last step that a trial has reported so far; -1 without any report."""
    rows = read_lines(run / names.TRIALS_FOLDER / trial / names.LEDGER_FILE)
    return max((row[names.STEP] for row in rows), default=-1)


def losses(run: Path | str) -> pd.Series:
    """eval_loss by (trial, step); each pair once."""
    table = load(run).curves.set_index(["trial", names.STEP])[names.EVAL_LOSS].sort_index()
    assert not table.index.has_duplicates
    return table


def same_losses(run: Path | str, whole: Path, trials: int | None = None) -> None:
    """Assert that a run has the losses of another one, row for row and bit for bit.

    trials: number of trials of the run, if it has only some of the other's; None: it has all of them.
    """
    found, expected = losses(run), losses(whole)
    if trials is not None:
        names_found = found.index.unique("trial")
        assert len(names_found) == trials, names_found
        expected = expected.loc[list(names_found)]
    pd.testing.assert_series_equal(found, expected, check_exact=True)


# --- processes ---


def all_processes() -> list[int]:
    """Ids of all processes of the machine."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def parent(pid: int) -> int:
    """Id of the parent process; 0 if the process has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def descendants(pid: int) -> set[int]:
    """Ids of the children of a process, of their children, and so on."""
    children: dict[int, set[int]] = {}
    for process in all_processes():
        children.setdefault(parent(process), set()).add(process)
    found, new = set[int](), {pid}
    while new:
        new = {child for one in new for child in children.get(one, set())} - found
        found |= new
    return found


def open_files(pid: int) -> list[str]:
    """Paths that a process has open; none if the process has ended or belongs to another user."""
    try:
        return [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []


def agents(processes: set[int]) -> set[int]:
    """Ray's agents among the processes; after a SIGKILL of the driver they outlive its servers by a minute or two."""
    return {pid for pid in processes if re.fullmatch(r"ray::\w+Agent", command_line(pid))}


def pss_mib(pid: int) -> float:
    """Proportional set size of a process: a page that n processes share counts 1/n. 0 if the process has ended."""
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def object_store_mib(raylet: int) -> float:
    """Memory that a node's object store takes: the blocks of its file in /dev/shm, which its raylet has open."""
    used = 0
    for link in Path(f"/proc/{raylet}/fd").glob("*"):
        with suppress(OSError):
            used += link.stat().st_blocks * 512 if "/plasma" in str(link.readlink()) else 0
    return used / 2**20


def wait_until_gone(processes: set[int]) -> None:
    """Assert that all these processes end; Ray's processes end a moment after their driver."""
    deadline = time.monotonic() + PATIENCE
    while alive := [pid for pid in processes if command_line(pid)]:
        assert time.monotonic() < deadline, f"still there: {[(pid, command_line(pid)) for pid in alive]}"
        time.sleep(0.1)


def command_line(pid: int) -> str:
    """Command line of a process; empty if it has ended, or is a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
