"""Pieces of work on a real Ray: results in order, a bounded number ahead, one thread for each piece."""

import os
from collections.abc import Iterator

import pytest

from sweeps.engine.cluster import ray_workers
from sweeps.engine.cluster.ray_workers import AHEAD, RayWorkers
from trainable.errors import InputError

pytestmark = pytest.mark.usefixtures("one_ray")


def test_results_come_in_order_and_a_bounded_number_of_pieces_is_started_ahead() -> None:
    workers = RayWorkers()
    started: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            started.append(i)
            yield i

    for i, result in enumerate(workers.map(lambda n: n * n, items())):
        assert result == i * i
        assert len(started) <= i + AHEAD * workers.size


@pytest.mark.parametrize("together", [1, 4, 64])
def test_a_sum_equals_that_of_a_loop_however_many_pieces_are_added_together(
    monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(ray_workers, "TOGETHER", together)
    workers = RayWorkers()
    for count in (1, 2, 11):
        assert workers.sum(lambda n: [n], range(count)) == list(range(count)), "in order"


def test_an_error_in_a_piece_has_the_same_text_as_without_ray() -> None:
    def refuse(item: int) -> int:
        raise InputError(f"row {item} is wrong: mend it.")

    for run in (lambda: list(RayWorkers().map(refuse, [7])), lambda: RayWorkers().sum(refuse, [7])):
        with pytest.raises(InputError) as told:
            run()
        assert str(told.value) == "row 7 is wrong: mend it."


def test_the_environment_of_a_piece_limits_its_libraries_to_one_thread() -> None:
    (seen,) = RayWorkers().map(
        lambda names: [os.environ.get(n) for n in names], [["RAYON_NUM_THREADS", "OMP_NUM_THREADS"]]
    )
    assert seen == ["1", "1"]
