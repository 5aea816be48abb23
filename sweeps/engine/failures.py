"""Explain deaths of workers: each restart is told with its cause, and the last death is the reason of a failed trial.

A worker that cannot work where it is (a library is missing, a file is another user's) has not failed at its trial: the
sweep ends, and goes on when that is mended.

A killed process leaves no word, and Ray passes on no signal, so the cause is pieced together: from the exception where
there was one, from the kernel's count of processes that it killed for want of memory, from what Ray says of the node.
"""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import ActorUnavailableError, NodeDiedError, RayActorError, RayTaskError, RuntimeEnvSetupError
from rich.console import Console

from sweeps.engine.folder import RunFolder
from sweeps.engine.order.trial_order import TrialOrder
from trainable import names
from trainable.config import identity
from trainable.errors import DamagedFile, InputError, first_line
from trainable.plan import TrialPlan
from trainable.record.files import fingerprint
from trainable.record.ledger import Row
from trainable.record.run_files import RunFiles
from trainable.student.checkpoint import ForeignCheckpoint, load_checkpoint

_VM_EVENTS = Path("/proc/vmstat")  # Linux
_NODE_DIED = "the node of its worker died or cannot be reached"
# Ray (2.60) knows these causes of an actor's death but keeps no field of them in ActorDiedError, words alone. Where it
# changes its words, the sentence for any killed worker is said instead; nothing else depends on them.
_RAY_SAYS = {"its node has died": _NODE_DIED, "SIGTERM": "its worker was ended by SIGTERM"}
# Ray's words for a worker that cannot import the trial's code, behind which its traceback stands; it ends the process,
# and keeps no field. Where the words change, the trial counts as killed.
_CANNOT_IMPORT = "failed to import on the worker"
_ERROR_LINE = re.compile(r"^[\w.]*(?:Error|Exception)\b.*", re.MULTILINE)
_KILLED = "its worker was killed (SIGKILL or a crash; the kernel has not said that memory ran out here)"
_OUT_OF_MEMORY = (
    "its worker was killed because memory ran out (SIGKILL by the kernel; run fewer trials at once with a larger "
    "--cpus-per-trial, or lower loop.batch_blocks)"
)


class WorkerDeaths(tune.Callback, tune.Stopper):  # type: ignore[misc]
    """Callbacks that Tune calls at the death of a trial's worker; stopper that ends a sweep which cannot work here."""

    def __init__(self, order: TrialOrder, files: RunFiles, console: Console, restarts: int):
        self._order = order
        self._files = files  # each restart is a row of restarts.jsonl
        self._console = console
        self._restarts = restarts
        self._oom_kills = kernel_oom_kills()
        self._fault: str | None = None  # of the surroundings

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; nothing here is part of a run's state."""
        return {}

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Say that Tune restarts the trial, and why."""
        error = _error_of(trial)
        if self._is_fault(error):
            return
        name, reason = trial.config["name"], self._reason(error)
        which = f"restart {trial.num_failures} of {self._restarts}"
        said = f"  {name:<34} {reason}; goes on from its last checkpoint ({which})"
        self._console.print(said, highlight=False, markup=False)
        row = {"trial": name, "reason": reason, "restart": trial.num_failures, names.TIMESTAMP: time.time()}
        with suppress(OSError):  # a full disk is told elsewhere
            self._files.append_row(names.RESTARTS_FILE, row)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Close the trial as failed with the reason of the last death, but not for a fault of the surroundings."""
        error = _error_of(trial)
        if not self._is_fault(error):
            self._order.fail(trial.config["name"], f"{self._reason(error)}, after {self._restarts} restarts")

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stops a single trial; only `stop_all` ends the sweep."""
        return False

    def stop_all(self) -> bool:
        """Whether trials cannot work here."""
        return self._fault is not None

    def check_after(self, resume: str) -> None:
        """Raise InputError if the sweep was ended for that."""
        if self._fault is not None:
            raise InputError(f"trials cannot run here ({self._fault}): mend that, then go on with: {resume}")

    def _is_fault(self, error: BaseException | None) -> bool:
        fault = fault_of_surroundings(error)
        self._fault = self._fault or fault
        return fault is not None

    def _reason(self, error: BaseException | None) -> str:
        before, self._oom_kills = self._oom_kills, kernel_oom_kills()
        return death_reason(error, out_of_memory=self._oom_kills > before)


def _error_of(trial: Any) -> BaseException | None:
    """What Tune has just kept as the trial's error."""
    kept = trial.pickled_error_file
    error = cloudpickle.loads(Path(kept).read_bytes()) if kept and Path(kept).exists() else None
    return error if isinstance(error, BaseException) else None


def fault_of_surroundings(error: BaseException | None) -> str | None:
    """What is wrong where a worker runs, as a clause; None for a death that may be the trial's own.

    A worker that could not even be set up has done nothing of its trial; Ray keeps the reason as text alone.
    """
    where = ""
    if isinstance(error, RayTaskError):
        ip = getattr(error, "ip", None)  # lost where Ray raises it as its cause
        where = "" if ip in (None, ray.util.get_node_ip_address()) else f" on node {ip}"
        error = error.cause
    said = str(error)
    no_code = isinstance(error, RayActorError) and (error.actor_init_failed or _CANNOT_IMPORT in said)
    if no_code or isinstance(error, RuntimeEnvSetupError):
        return (_ERROR_LINE.findall(said) or said.strip().splitlines())[-1].strip().rstrip(".")
    # A library that cannot be loaded has no error number; a network that fails has, or a kind of its own.
    unloadable = isinstance(error, OSError) and error.errno is None and not isinstance(error, ConnectionError)
    if error is not None and (isinstance(error, ImportError | PermissionError) or unloadable):
        return f"{type(error).__name__}{where}: {first_line(error)}"
    return None


def death_reason(error: BaseException | None, out_of_memory: bool) -> str:
    """Cause of a worker's death as a sentence without its full stop.

    out_of_memory: the kernel has killed a process for want of memory since the last death.
    """
    if isinstance(error, RayTaskError):
        said = first_line(error.cause) if str(error.cause).strip() else "no message"
        return f"{type(error.cause).__name__}: {said}"
    if isinstance(error, ActorUnavailableError | NodeDiedError) or getattr(error, "preempted", False):
        return _NODE_DIED
    for words, reason in _RAY_SAYS.items():
        if words in str(error):
            return reason
    return _OUT_OF_MEMORY if out_of_memory else _KILLED


def kernel_oom_kills() -> int:
    """Number of processes that this machine's kernel has killed for want of memory since boot; 0 if not told."""
    try:
        counts = dict(line.split() for line in _VM_EVENTS.read_text().splitlines())
    except OSError:
        return 0
    return int(counts.get("oom_kill", 0))


def drop_unusable_checkpoints(folder: RunFolder, say: Callable[[str], None]) -> None:
    """Remove the checkpoints of unfinished trials that are damaged, or ahead of a ledger that has lost rows."""
    for plan, state, reports in folder.trials():
        if state != names.RUNNING or not folder.checkpoint(plan.name).exists():
            continue
        if (why := _why_unusable(folder, plan, reports)) is not None:
            folder.drop_checkpoint(plan.name)
            say(f"{folder.files.shown(why)}: trial {plan.name} is trained again from step 0.")


def _why_unusable(folder: RunFolder, plan: TrialPlan, reports: list[Row]) -> str | None:
    path = folder.checkpoint(plan.name)
    try:
        state, _ = load_checkpoint(path, fingerprint(identity(plan.config)))
    except DamagedFile as error:
        return f"checkpoint {path} is damaged ({error.reason})"
    except ForeignCheckpoint as error:
        return f"{path} {error.reason}"
    known = {row[names.STEP] for row in reports}
    lost = [step for step in range(0, state.step, plan.config.loop.eval_every) if step not in known]
    if not lost:
        return None
    return f"the ledger {path.with_name(names.LEDGER_FILE)} has lost step {lost[0]}, which checkpoint.pt is ahead of"
