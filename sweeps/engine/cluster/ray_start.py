"""Start or join the Ray that trials run on; a Ray of our own starts while the driver imports and prepares data.

Ray's servers take some seconds to come up, and so do the driver's imports of PyTorch and transformers; neither needs
the other. Hence this module imports none of them at its top.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sweeps.engine.preflight import check_open_files, shared_memory_is_ample
from trainable.errors import InputError
from trainable.text.workers import LOCAL, Workers

WORKER_ENVIRONMENT = {"HF_HUB_OFFLINE": "1"}  # the data are prepared: no worker asks the network


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and with what the trials run."""

    address: str | None = None  # of a Ray cluster to join; None: RAY_ADDRESS, or a Ray of our own
    workers_per_trial: int = 1
    cpus_per_trial: float = 1  # each worker's
    gpus_per_trial: float | None = None  # each worker's; None: 1 where the cluster has GPUs, else 0
    cpus: int | None = None  # of a Ray of our own; None: all
    dashboard_host: str = "127.0.0.1"

    @property
    def cluster(self) -> str | None:
        """Address of a cluster that runs already; None: a Ray of our own."""
        return self.address or os.environ.get("RAY_ADDRESS")


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

            end_children()  # half started: waiting would keep the user from the message, for a minute after Ctrl-C
            return
        self._up.wait()
        import ray

        ray.shutdown()
        self._end.set()

    def dashboard(self, store_bytes: Callable[[], int | None]) -> str:
        """Wait for Ray; the address of its dashboard. Raises InputError where Ray cannot be had."""
        if self._thread.ident is None:  # /dev/shm is small: what the trials read decides what Ray is asked for
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
        try:
            context = start_ray(self._machine, self._store)
            self._dashboard = f"http://{context.dashboard_url}" if context.dashboard_url else "none (it did not start)"
        except BaseException as error:  # for the thread that waits
            self._error = error
        self._up.set()
        self._end.wait()  # Linux ends Ray's servers with the thread that started them (PR_SET_PDEATHSIG)


def check_address(address: str | None) -> None:
    """Raise InputError where nothing listens at HOST:PORT; `ray.init` alone would try for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if not colon or not port.isdigit() or "/" in host:  # none, "auto", or a URL: Ray's own to judge
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray cluster at {address} ({error}): give --address HOST:PORT of a running one.") from None


def start_ray(machine: Machine, store: int | None = None) -> Any:
    """Join the cluster, or start a Ray of our own with its dashboard on localhost; Ray's context.

    store: bytes of its object store; None: as Ray likes.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # reaches out to the network otherwise
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a token file would lock out `ray status` and later clusters
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")  # its kills can end a whole sweep
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the ledgers are the log
    # Tune lets a custom searcher have one trial pending, so workers would start one after the other; ours holds back
    # by itself what would be proposed too early.
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "64")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its boxes, which verbose=0 does not silence
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Its state is read by nobody, and a disk that takes no more is told in a sentence (room.py): no traceback for it.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    common = {"logging_level": "ERROR", "log_to_driver": False, "runtime_env": {"env_vars": WORKER_ENVIRONMENT}}
    if machine.cluster:
        return _join(machine.cluster, common)
    check_open_files(machine.cpus or os.cpu_count() or 1)
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # processes that Tune's actors never use
    context = _start_own(machine, common | {"object_store_memory": store})
    _check_room(machine)
    return context


def _join(address: str, common: dict[str, Any]) -> Any:
    import ray

    try:
        return ray.init(address=address, **common)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(
            f"no Ray cluster at {address} ({reason}): give --address HOST:PORT of a running one."
        ) from error


def _check_room(machine: Machine) -> None:
    """Raise InputError where no trial would ever start."""
    import ray

    has = ray.cluster_resources()
    for kind, wanted in (("CPU", machine.cpus_per_trial), ("GPU", machine.gpus_per_trial or 0)):
        if (needed := wanted * machine.workers_per_trial) > has.get(kind, 0):
            options = f"--{kind.lower()}s-per-trial" + " or --workers-per-trial" * (machine.workers_per_trial > 1)
            raise InputError(f"a trial asks for {needed:g} {kind}s but Ray has {has.get(kind, 0):g}: lower {options}.")


def _start_own(machine: Machine, common: dict[str, Any]) -> Any:
    import ray

    settings = {"num_cpus": machine.cpus, "dashboard_host": machine.dashboard_host, **common}
    try:
        return ray.init(address="local", include_dashboard=True, **settings)
    except Exception:  # the dashboard's start has been seen to fail on a busy machine; the sweep does not need it
        ray.shutdown()
        return ray.init(address="local", include_dashboard=False, **settings)
