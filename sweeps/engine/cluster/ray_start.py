"""Join a Ray cluster for the trials, or start the driver's own Ray while the driver imports and prepares data.

Ray's servers take some seconds to start, and so do the driver's imports of PyTorch and transformers; neither needs the
other. So this module imports none of them at its top.
"""

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sweeps.engine.preflight import check_open_files, ray_folder, shared_memory_is_ample, usable_cpus
from sweeps.engine.termination import kept_from_ray, ray_is_half_started
from trainable.errors import InputError, first_line
from trainable.text.workers import LOCAL, Workers

_ADDRESS = re.compile(r"(?:ray://)?(?P<host>[^\s/:@]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,9})")
_OR_NONE = {"--address": ", or leave --address out", "RAY_ADDRESS": ", or unset RAY_ADDRESS to start a Ray here"}
WORKER_ENVIRONMENT = {"HF_HUB_OFFLINE": "1"}  # the data are prepared: no worker needs the network


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The Ray on which the trials run, and their resources."""

    address: str | None = None  # of a Ray cluster to join; None: RAY_ADDRESS, or the driver's own Ray
    workers_per_trial: int = 1
    cpus_per_trial: float = 1  # of each worker
    gpus_per_trial: float | None = None  # of each worker; None: 1 if the cluster has GPUs, else 0
    cpus: int | None = None  # of the driver's own Ray; None: all that the process may use
    dashboard: bool = True  # of the driver's own Ray
    dashboard_host: str = "127.0.0.1"

    @property
    def cluster(self) -> str | None:
        """Address of a running cluster; None: the driver starts its own Ray."""
        address = (self.address or os.environ.get("RAY_ADDRESS") or "").strip()
        return None if address in ("", "local") else address

    @property
    def said_by(self) -> str:
        """The option or variable that gave the address of the cluster, for messages."""
        return "--address" if self.address else "RAY_ADDRESS"


class RayStart:
    """Ray for the time of a `with` block: it starts in the background and is shut down at the end."""

    def __init__(self, machine: Machine):
        self._machine = machine
        self._thread = threading.Thread(target=self._start, name="Ray start", daemon=True)
        self._store: int | None = None
        self._dashboard = ""
        self._error: BaseException | None = None
        self._up = threading.Event()  # Ray has started, or failed to
        self._end = threading.Event()

    def __enter__(self) -> "RayStart":
        if self._machine.cluster or shared_memory_is_ample():
            self._thread.start()
        return self

    def __exit__(self, problem: type[BaseException] | None, *_: object) -> None:
        if self._thread.ident is None:
            return
        if problem is not None and not self._machine.cluster and not self._up.is_set():
            from sweeps.engine.interrupt import end_children

            ray_is_half_started()
            end_children()  # half started: after Ctrl-C, waiting would delay the message by a minute
            return
        self._up.wait()
        import ray

        ray.shutdown()
        self._end.set()

    def dashboard(self, store_bytes: Callable[[], int | None]) -> str:
        """Wait for Ray and return the address of its dashboard. Raises InputError if Ray does not start or join."""
        if self._thread.ident is None:  # /dev/shm is small: the size of the data decides what Ray is asked for
            self._store = store_bytes()
            self._thread.start()
        self._wait()
        return self._dashboard

    def workers(self) -> Workers:
        """Workers that prepare the data: those of a cluster, once it is joined; else this process, while Ray starts."""
        if not self._machine.cluster:
            return LOCAL
        self._wait()
        from sweeps.engine.cluster.ray_workers import RayWorkers

        return RayWorkers()

    def _wait(self) -> None:
        self._up.wait()
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        # Ray blocks SIGINT in its servers only after it has forked them. Blocked here, it is so from the start.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with kept_from_ray():
                context = start_ray(self._machine, self._store)
            none = "none (it did not start)" if self._machine.dashboard else "none (--no-dashboard)"
            self._dashboard = f"http://{context.dashboard_url}" if context.dashboard_url else none
        except BaseException as error:  # raised again in the thread that waits
            self._error = error
        self._up.set()
        self._end.wait()  # Linux ends Ray's servers with the thread that started them (PR_SET_PDEATHSIG)


def check_address(machine: Machine) -> None:
    """Raise InputError if the address is malformed or nothing listens there: `ray.init` alone would try for minutes."""
    address = machine.cluster
    if address is None or address == "auto":  # Ray looks for it itself
        return
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise InputError(
            f"{machine.said_by} is {address!r}, which is no address of a Ray cluster: give HOST:PORT of a running "
            f"one, or auto{_OR_NONE[machine.said_by]}."
        )
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout=5).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise _no_cluster(machine, str(error)) from None


def _no_cluster(machine: Machine, reason: str) -> InputError:
    return InputError(
        f"no Ray cluster at {machine.cluster} (of {machine.said_by}; {reason}): give HOST:PORT of a running "
        f"one{_OR_NONE[machine.said_by]}."
    )


def start_ray(machine: Machine, store: int | None = None) -> Any:
    """Join the cluster, or start the driver's own Ray, and return Ray's context.

    store: bytes of its object store; None: Ray's default.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray sends statistics over the network
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a token file would lock out `ray status` and later clusters
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")  # what the monitor kills can end a whole sweep
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the ledgers are the log
    # By default Tune lets a custom searcher have one pending trial, so workers would start one after the other. The
    # searcher of this project itself holds back trials that would be proposed too early.
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "64")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's printed boxes, which verbose=0 does not silence
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Nothing reads Tune's own state, and room.py reports a full disk in one sentence: print no traceback about it.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    from ray._private import worker

    from sweeps.engine.cluster.worker_path import OwnPath

    worker.print_to_stdstream = _told_elsewhere
    common = {"logging_level": "ERROR", "log_to_driver": False, "runtime_env": {"env_vars": WORKER_ENVIRONMENT}}
    common["job_config"] = OwnPath()
    if machine.cluster:
        return _join(machine, common)
    cpus = machine.cpus or usable_cpus()
    check_open_files(cpus)
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # processes that Tune's actors never use
    dashboard = {"include_dashboard": machine.dashboard, "dashboard_host": machine.dashboard_host}
    own = {"num_cpus": cpus, "object_store_memory": store, "_temp_dir": ray_folder()}
    context = _start_own(common | dashboard | own)
    _check_room(machine)
    return context


def _told_elsewhere(data: Any, *_: Any, **__: Any) -> None:
    """Print nothing: for each worker that dies Ray would print a traceback, which failures.py sums up."""


def _join(machine: Machine, common: dict[str, Any]) -> Any:
    import ray

    try:
        return ray.init(address=machine.cluster, **common)
    except Exception as error:  # however it fails, there is no cluster to work with
        raise _no_cluster(machine, first_line(error)) from error


def _check_room(machine: Machine) -> None:
    """Raise InputError if Ray has fewer CPUs or GPUs than one trial needs."""
    import ray

    has = ray.cluster_resources()
    for kind, wanted in (("CPU", machine.cpus_per_trial), ("GPU", machine.gpus_per_trial or 0)):
        if (needed := wanted * machine.workers_per_trial) > has.get(kind, 0):
            options = f"--{kind.lower()}s-per-trial" + " or --workers-per-trial" * (machine.workers_per_trial > 1)
            raise InputError(f"a trial asks for {needed:g} {kind}s but Ray has {has.get(kind, 0):g}: lower {options}.")


def _start_own(settings: dict[str, Any]) -> Any:
    """Start the driver's own Ray, without a dashboard if that fails. Raises InputError if Ray fails, for any reason."""
    import ray

    if settings["include_dashboard"]:
        try:
            return ray.init(address="local", **settings)
        except Exception:  # the dashboard's start has been seen to fail on a busy machine; the sweep does not need it
            ray.shutdown()
    try:
        return ray.init(address="local", **settings | {"include_dashboard": False})
    except Exception as error:
        raise InputError(
            f"Ray cannot start on this machine ({first_line(error)}): mend that, or join a running cluster with "
            "--address HOST:PORT."
        ) from error
