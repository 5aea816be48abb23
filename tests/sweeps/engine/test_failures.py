"""The reported cause of a trial's death, and deaths that do not count as a failure of the trial."""

import errno
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray import cloudpickle
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError, RuntimeEnvSetupError
from rich.console import Console
from sweep_specs import new_run, small_sweep

from sweeps.engine.failures import WorkerDeaths, death_reason, fault_of_surroundings
from sweeps.engine.order.search import SearchOrder
from trainable import names
from trainable.errors import InputError
from trainable.record.ledger import read_lines

HERE = "10.0.0.1"


@pytest.fixture(autouse=True)
def own_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: HERE)


def raised(cause: BaseException, ip: str = HERE) -> RayTaskError:
    """Wrap an exception of a worker as the driver receives it."""
    return RayTaskError("f", "traceback", cause, ip=ip)


def test_an_exception_is_reported_by_its_first_line() -> None:
    error = raised(MemoryError("no room for 8 GiB.\nmore"))
    assert death_reason(error, out_of_memory=True) == "MemoryError: no room for 8 GiB"
    assert death_reason(raised(ValueError()), False) == "ValueError: no message"


def test_a_worker_without_an_exception_was_killed_and_memory_is_named_as_cause_only_with_evidence() -> None:
    assert "SIGKILL" in death_reason(ActorDiedError(), out_of_memory=False)
    assert "because memory ran out" in death_reason(ActorDiedError(), out_of_memory=True)
    assert "was killed" in death_reason(None, out_of_memory=False)


def test_a_worker_that_cannot_be_reached_does_not_count_as_killed() -> None:
    said = "the node of its worker died or cannot be reached"
    assert death_reason(ActorUnavailableError("RPC error: Socket closed", b"0" * 16), out_of_memory=True) == said


LIBRARY = "libcudart.so.12: cannot open shared object file: No such file or directory"
ABSENT = "ModuleNotFoundError: No module named 'trainable.trial'"
SETUP = "Traceback (most recent call last):\n  File ...\nModuleNotFoundError: No module named 'trainable.trial'."


def died(message: str, in_setup: bool = False) -> ActorDiedError:
    """Make Ray's exception for a dead worker, with a message in Ray's words."""
    error = ActorDiedError(raised(RuntimeError("x"))) if in_setup else ActorDiedError()
    error.error_msg = message
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (raised(ModuleNotFoundError("No module named 'torch'")), "ModuleNotFoundError: No module named 'torch'"),
        (raised(ImportError("GLIBC_2.32 not found.\nmore")), "ImportError: GLIBC_2.32 not found"),
        (raised(ImportError("x"), ip="10.0.0.7"), "ImportError on node 10.0.0.7: x"),
        (raised(PermissionError(errno.EACCES, "Permission denied", "a")), "PermissionError: [Errno 13] Permission"),
        (raised(OSError(LIBRARY)), f"OSError: {LIBRARY}"),
        (died(f"The actor died because of an error raised in its creation task, {SETUP}", in_setup=True), ABSENT),
        (
            died(
                f"Worker exits.\nThe actor with name X failed to import on the worker.\n{SETUP}\nAn unexpected error."
            ),
            ABSENT,
        ),
        (RuntimeEnvSetupError("no such image"), "no such image"),
    ],
)
def test_a_fault_of_the_environment_is_reported_with_its_cause(error: BaseException, told: str) -> None:
    assert told in (fault_of_surroundings(error) or "")


@pytest.mark.parametrize(
    "error",
    [
        None,
        ActorDiedError(),
        ActorUnavailableError("RPC error", b"0" * 16),
        raised(MemoryError("no room")),
        raised(RuntimeError("CUDA error")),
        raised(OSError(errno.EIO, "Input/output error", "metrics.jsonl")),
        raised(ConnectionError("reset")),
    ],
)
def test_any_other_death_is_no_fault_of_the_environment(error: BaseException | None) -> None:
    assert fault_of_surroundings(error) is None


@pytest.mark.parametrize(("cause", "told"), [(RuntimeError("no room"), None), (ImportError("x"), "ImportError: x")])
def test_an_error_that_ray_raises_as_its_cause_is_judged_by_this_cause(cause: Exception, told: str | None) -> None:
    """The driver receives one exception that is an instance of both Ray's class and the class of the cause."""
    both = raised(cause).as_instanceof_cause()
    assert isinstance(both, type(cause)) and fault_of_surroundings(both) == told
    reloaded = cloudpickle.loads(cloudpickle.dumps(both))
    assert fault_of_surroundings(reloaded) == told


@pytest.mark.parametrize("restarted_first", [True, False])
def test_a_fault_of_the_environment_ends_the_sweep_and_its_trial_stays_unfinished(
    tmp_path: Path, restarted_first: bool
) -> None:
    folder = new_run(tmp_path / "run", small_sweep())
    order = SearchOrder(small_sweep(), folder, {}, lambda name: False, lambda: 3)
    deaths = WorkerDeaths(order, folder.files, Console(file=StringIO()), restarts=2)
    config = order.suggest("a")
    assert isinstance(config, dict)
    kept = tmp_path / "error.pkl"
    kept.write_bytes(cloudpickle.dumps(raised(ImportError("No module named 'torch'"))))
    trial: Any = SimpleNamespace(config=config, pickled_error_file=str(kept), num_failures=1)
    deaths.check_after("the command")
    if restarted_first:
        deaths.on_trial_recover(1, [], trial)
    else:
        order.on_trial_complete("a", error=True)
        deaths.on_trial_error(1, [], trial)
    assert deaths.stop_all() and folder.status(config["name"])[0] == names.RUNNING
    with pytest.raises(InputError, match=r"\(ImportError: No .* 'torch'\): mend that, then go on with: the command"):
        deaths.check_after("the command")


def test_each_restart_is_a_row_in_the_run_folder_and_a_full_disk_raises_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_run(tmp_path / "run", small_sweep())
    order = SearchOrder(small_sweep(), folder, {}, lambda name: False, lambda: 3)
    deaths = WorkerDeaths(order, folder.files, Console(file=StringIO()), restarts=2)
    kept = tmp_path / "error.pkl"
    kept.write_bytes(cloudpickle.dumps(raised(MemoryError("no room"))))
    trial: Any = SimpleNamespace(config={"name": "a"}, pickled_error_file=str(kept), num_failures=1)
    deaths.on_trial_recover(1, [], trial)
    (row,) = read_lines(folder.path / names.RESTARTS_FILE)
    assert (row["trial"], row["reason"], row["restart"]) == ("a", "MemoryError: no room", 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder.files, "append_row", full)
    deaths.on_trial_recover(2, [], trial)
    assert len(read_lines(folder.path / names.RESTARTS_FILE)) == 1
