"""Ray starts in the background, raises its errors where the driver waits for it, and ends with the `with` block."""

import re
import signal
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from sweeps.engine import interrupt
from sweeps.engine.cluster import ray_start as machine
from sweeps.engine.cluster.ray_start import Machine, RayStart, check_address
from trainable.errors import InputError
from trainable.text.workers import LOCAL


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Calls that ended Ray or its processes; RAY_ADDRESS is unset, so there is no cluster to join."""
    ended: list[str] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append("shutdown"))
    return ended


def never_asked() -> int:
    raise AssertionError("the size of the store was asked for")


def test_ray_starts_while_the_data_are_prepared_if_shared_memory_is_ample(
    ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def start(*_: Any) -> SimpleNamespace:
        begun.set()
        return SimpleNamespace(dashboard_url="127.0.0.1:8265")

    monkeypatch.setattr(machine, "shared_memory_is_ample", lambda: True)
    monkeypatch.setattr(machine, "start_ray", start)
    with RayStart(Machine()) as ray_start:
        assert begun.wait(60), "Ray waits until the driver asks for the dashboard"
        assert ray_start.dashboard(never_asked) == "http://127.0.0.1:8265"
        assert ends == []
    assert ends == ["shutdown"]


def test_ray_waits_for_the_size_of_the_data_if_shared_memory_is_small(
    ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def start(_: Machine, store: int | None) -> SimpleNamespace:
        asked.append(store)
        return SimpleNamespace(dashboard_url="")

    monkeypatch.setattr(machine, "shared_memory_is_ample", lambda: False)
    monkeypatch.setattr(machine, "start_ray", start)
    with RayStart(Machine()) as ray_start:
        assert asked == []
        assert ray_start.dashboard(lambda: 123) == "none (it did not start)"
    with RayStart(Machine(dashboard=False)) as ray_start:
        assert ray_start.dashboard(lambda: 456) == "none (--no-dashboard)"
    assert asked == [123, 456]


def test_this_process_prepares_data_while_its_own_ray_starts_and_a_cluster_does_so_once_joined(
    ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = threading.Event()
    monkeypatch.setattr(machine, "shared_memory_is_ample", lambda: True)
    monkeypatch.setattr(machine, "start_ray", lambda *_: (joined.wait(60), SimpleNamespace(dashboard_url="x"))[1])
    with RayStart(Machine()) as own:
        assert own.workers() is LOCAL, "the preparation waits for Ray"
        joined.set()
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 7.0} if joined.is_set() else {})
    joined.clear()
    with RayStart(Machine(address="head:6379")) as cluster:
        threading.Timer(0.1, joined.set).start()
        assert cluster.workers().size == 7


def test_a_cluster_that_cannot_be_joined_is_reported_when_its_workers_are_asked_for(
    ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: Any) -> SimpleNamespace:
        raise InputError("no Ray cluster at head:6379")

    monkeypatch.setattr(machine, "start_ray", start)
    with pytest.raises(InputError, match="no Ray cluster"), RayStart(Machine(address="head:6379")) as cluster:
        cluster.workers()


def test_an_error_in_the_background_is_raised_where_the_driver_waits_for_ray(
    ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: Any) -> SimpleNamespace:
        raise InputError("no room")

    monkeypatch.setattr(machine, "shared_memory_is_ample", lambda: True)
    monkeypatch.setattr(machine, "start_ray", start)
    with pytest.raises(InputError, match="no room"), RayStart(Machine()) as ray_start:
        ray_start.dashboard(never_asked)
    assert ends == ["shutdown"]


def test_the_thread_that_started_ray_lives_as_long_as_ray(ends: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux would end Ray's servers together with the thread that started them."""
    starters: list[threading.Thread] = []  # of this test alone: a thread of an earlier test may still live

    def start(*_: Any) -> SimpleNamespace:
        starters.append(threading.current_thread())
        return SimpleNamespace(dashboard_url="x")

    monkeypatch.setattr(machine, "shared_memory_is_ample", lambda: True)
    monkeypatch.setattr(machine, "start_ray", start)
    with RayStart(Machine()) as ray_start:
        ray_start.dashboard(never_asked)
        [thread] = starters
        thread.join(0.2)
        assert thread.is_alive()
    thread.join(60)
    assert not thread.is_alive()


def test_ctrl_c_is_blocked_in_the_thread_that_starts_ray_but_not_in_the_main_thread(
    ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of Ray that gets Ctrl-C before Ray has blocked it there would print a traceback."""
    blocked: list[set[int]] = []

    def start(*_: Any) -> SimpleNamespace:
        blocked.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
        return SimpleNamespace(dashboard_url="x")

    monkeypatch.setattr(machine, "shared_memory_is_ample", lambda: True)
    monkeypatch.setattr(machine, "start_ray", start)
    with RayStart(Machine()) as ray_start:
        ray_start.dashboard(never_asked)
    assert signal.SIGINT in blocked[0]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_an_input_error_while_ray_starts_is_raised_without_waiting_for_ray(
    ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr(machine, "shared_memory_is_ample", lambda: True)
    monkeypatch.setattr(machine, "start_ray", lambda *_: never.wait(60))
    monkeypatch.setattr(interrupt, "end_children", lambda: ends.append("children"))
    with pytest.raises(InputError, match="too few rows"), RayStart(Machine()):
        raise InputError("too few rows")
    assert ends == ["children"]
    never.set()


@pytest.mark.parametrize(
    "address", ["garbage", "http://127.0.0.1:8265", "ray://head", "me@head:6379", "head:port", "a b:1"]
)
@pytest.mark.parametrize("said_by", ["--address", "RAY_ADDRESS"])
def test_an_invalid_address_is_named_with_the_option_or_variable_that_gave_it(
    monkeypatch: pytest.MonkeyPatch, address: str, said_by: str
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if said_by == "RAY_ADDRESS":
        monkeypatch.setenv("RAY_ADDRESS", address)
    asked = Machine(address=address if said_by == "--address" else None)
    with pytest.raises(InputError, match=f"^{said_by} is {re.escape(repr(address))}, which is no address of a Ray"):
        check_address(asked)


@pytest.mark.parametrize("address", ["", " ", "local", "auto"])
def test_words_that_ray_takes_in_place_of_an_address_are_accepted(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    check_address(Machine())
    assert Machine().cluster == ("auto" if address == "auto" else None)


def test_any_error_that_keeps_ray_from_starting_is_one_sentence(
    ends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def init(**settings: Any) -> None:
        asked.append(settings)
        raise OSError("no room for sockets.\nand more")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(machine, "usable_cpus", lambda: 3)
    with pytest.raises(InputError, match=r"^Ray cannot start on this machine \(no room for sockets\): mend that, or"):
        machine.start_ray(Machine())
    assert [one["include_dashboard"] for one in asked] == [True, False]
    assert {one["num_cpus"] for one in asked} == {3}, "Ray must get the CPUs that the process may use, not all CPUs"
    asked.clear()
    with pytest.raises(InputError, match=r"^Ray cannot start on this machine"):
        machine.start_ray(Machine(dashboard=False))
    assert [one["include_dashboard"] for one in asked] == [False]
    with pytest.raises(InputError, match=r"no Ray cluster at head:1 \(of --address; no room for sockets\): give HOST"):
        machine.start_ray(Machine(address="head:1"))
