"""Data of steps made ahead: the same data in the same order, no more than allowed, and errors at their own step."""

import threading
from collections.abc import Iterator

import pytest

from trainable.student.step_data import made_ahead


@pytest.mark.parametrize("ahead", [0, 1, 2, 50])
def test_each_step_comes_once_and_in_order(ahead: int) -> None:
    assert list(made_ahead(str, 3, 9, ahead)) == ["3", "4", "5", "6", "7", "8"]
    assert list(made_ahead(str, 9, 9, ahead)) == []


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_no_more_steps_than_allowed_are_made_before_they_are_asked_for(ahead: int) -> None:
    begun = threading.Semaphore(0)
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        begun.release()
        return number

    steps = made_ahead(make, 0, 10, ahead)
    for asked in range(1, 10 - ahead):
        next(steps)
        for _ in range(1 if asked > 1 else 1 + ahead):
            assert begun.acquire(timeout=20)
        assert len(made) == asked + ahead
        assert not begun.acquire(timeout=0.02)  # no more is made, however long the GPU takes


def test_one_side_thread_makes_the_steps_that_are_made_ahead() -> None:
    def threads(ahead: int) -> set[str]:
        return set(made_ahead(lambda _: threading.current_thread().name, 0, 5, ahead))

    assert threads(0) == {threading.current_thread().name}
    (name,) = threads(2)
    assert name.startswith("step-data")


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_is_raised_when_its_step_is_asked_for(ahead: int) -> None:
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("block 7 is outside")
        return number

    steps = made_ahead(make, 0, 5, ahead)
    assert [next(steps), next(steps)] == [0, 1]
    with pytest.raises(ValueError, match="block 7 is outside"):
        next(steps)


def test_a_run_that_ends_early_leaves_no_thread_behind() -> None:
    def part(steps: Iterator[int]) -> None:
        next(steps)

    part(made_ahead(int, 0, 1000, 2))  # the generator is closed with its last reference
    for thread in threading.enumerate():
        if thread.name.startswith("step-data"):
            thread.join(timeout=20)
            assert not thread.is_alive()
