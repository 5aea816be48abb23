"""Explain deaths of workers: each restart is printed with its cause; a failed trial gets the cause of its last death.

If a worker cannot run in its environment (a library is missing, a file belongs to another user), its trial has not
failed: the sweep ends, and can be resumed when the environment is mended.

A killed process leaves no message, and Ray does not pass on the signal. So the cause is inferred from the exception if
there is one, from the kernel's count of processes that it killed for lack of memory, and from Ray's words on the node.
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
# Ray (2.60) gives these causes of an actor's death only in the text of ActorDiedError, not in a field. If Ray changes
# its words, the sentence for any killed worker is printed instead; nothing else depends on them.
_RAY_SAYS = {"its node has died": _NODE_DIED, "SIGTERM": "its worker was ended by SIGTERM"}
# Ray's words, before the traceback, for a worker that cannot import the trial's code; Ray ends its process, and has no
# field for the cause. If the words change, the worker counts as killed.
_CANNOT_IMPORT = "failed to import on the worker"
_ERROR_LINE = re.compile(r"^[\w.]*(?:Error|Exception)\b.*", re.MULTILINE)
_KILLED = "its worker was killed (SIGKILL or a crash; the kernel has not said that memory ran out here)"
_OUT_OF_MEMORY = (
    "its worker was killed because memory ran out (SIGKILL by the kernel; run fewer trials at once with a larger "
    "--cpus-per-trial, or lower loop.batch_blocks)"
)


class WorkerDeaths(tune.Callback, tune.Stopper):  # type: ignore[misc]
    """Callbacks of Tune for the death of a trial's worker, and stopper of a sweep whose workers cannot run."""

    def __init__(self, order: TrialOrder, files: RunFiles, console: Console, restarts: int):
        self._order = order
        self._files = files  # each restart is a row of restarts.jsonl
        self._console = console
        self._restarts = restarts
        self._oom_kills = kernel_oom_kills()
        self._fault: str | None = None  # fault of the environment, once there is one

    def __getstate__(self) -> dict[str, Any]:
        """Return an empty state: Tune pickles its callbacks, but nothing here is part of a run's state."""
        return {}

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Print that Tune restarts the trial, and why."""
        error = _error_of(trial)
        if self._is_fault(error):
            return
        name, reason = trial.config["name"], self._reason(error)
        which = f"restart {trial.num_failures} of {self._restarts}"
        said = f"  {name:<34} {reason}; goes on from its last checkpoint ({which})"
        self._console.print(said, highlight=False, markup=False)
        row = {"trial": name, "reason": reason, "restart": trial.num_failures, names.TIMESTAMP: time.time()}
        with suppress(OSError):  # a full disk is reported by room.py
            self._files.append_row(names.RESTARTS_FILE, row)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Close the trial as failed, with the reason of its last death; a fault of the environment fails no trial."""
        error = _error_of(trial)
        if not self._is_fault(error):
            self._order.fail(trial.config["name"], f"{self._reason(error)}, after {self._restarts} restarts")

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stops a single trial; only `stop_all` ends the sweep."""
        return False

    def stop_all(self) -> bool:
        """Whether workers cannot run here, so that the sweep must end."""
        return self._fault is not None

    def check_after(self, resume: str) -> None:
        """Raise InputError if the sweep was ended because workers cannot run."""
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
    """Exception that Tune has just stored as the trial's error; None if there is none."""
    kept = trial.pickled_error_file
    error = cloudpickle.loads(Path(kept).read_bytes()) if kept and Path(kept).exists() else None
    return error if isinstance(error, BaseException) else None


def fault_of_surroundings(error: BaseException | None) -> str | None:
    """Fault of a worker's environment, as a clause; None if the trial itself may have caused the death.

    A worker that could not be set up has not begun its trial; Ray gives the reason only as text.
    """
    where = ""
    if isinstance(error, RayTaskError):
        ip = getattr(error, "ip", None)  # missing if Ray raised the error as its cause
        where = "" if ip in (None, ray.util.get_node_ip_address()) else f" on node {ip}"
        error = error.cause
    said = str(error)
    no_code = isinstance(error, RayActorError) and (error.actor_init_failed or _CANNOT_IMPORT in said)
    if no_code or isinstance(error, RuntimeEnvSetupError):
        return (_ERROR_LINE.findall(said) or said.strip().splitlines())[-1].strip().rstrip(".")
    # The OSError of a library that cannot be loaded has no errno; one of the network has an errno, or its own class.
    unloadable = isinstance(error, OSError) and error.errno is None and not isinstance(error, ConnectionError)
    if error is not None and (isinstance(error, ImportError | PermissionError) or unloadable):
        return f"{type(error).__name__}{where}: {first_line(error)}"
    return None


def death_reason(error: BaseException | None, out_of_memory: bool) -> str:
    """Cause of a worker's death as a sentence without a full stop.

    out_of_memory: whether the kernel has killed a process for lack of memory since the last death.
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
    """Number of processes that this machine's kernel has killed for lack of memory since boot; 0 if unknown."""
    try:
        counts = dict(line.split() for line in _VM_EVENTS.read_text().splitlines())
    except OSError:
        return 0
    return int(counts.get("oom_kill", 0))


def drop_unusable_checkpoints(folder: RunFolder, say: Callable[[str], None]) -> None:
    """Remove checkpoints of unfinished trials that cannot be loaded, or are ahead of a ledger that has lost rows."""
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
