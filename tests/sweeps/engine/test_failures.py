"""What is said of a trial's death."""

from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from sweeps.engine.failures import death_reason


def test_an_exception_is_told_by_its_first_line() -> None:
    error = RayTaskError("f", "traceback", MemoryError("no room for 8 GiB.\nmore"))
    assert death_reason(error, out_of_memory=True) == "MemoryError: no room for 8 GiB"
    assert death_reason(RayTaskError("f", "traceback", ValueError()), False) == "ValueError: no message"


def test_a_worker_that_says_nothing_was_killed_and_memory_is_blamed_only_with_evidence() -> None:
    assert "SIGKILL" in death_reason(ActorDiedError(), out_of_memory=False)
    assert "because memory ran out" in death_reason(ActorDiedError(), out_of_memory=True)
    assert "was killed" in death_reason(None, out_of_memory=False)


def test_a_worker_that_cannot_be_reached_is_told_from_one_that_was_killed() -> None:
    said = "the node of its worker died or cannot be reached"
    assert death_reason(ActorUnavailableError("RPC error: Socket closed", b"0" * 16), out_of_memory=True) == said
