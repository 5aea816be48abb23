"""What ranks share out comes back whole, in order."""

import numpy as np
import pytest

from trainable.student.ranks import ALONE, Ranks


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_of_a_micro_batch_are_the_batch(size: int) -> None:
    numbers_B = np.array([7, 3, 9, 1, 4])
    shares = [Ranks(rank, size).share(numbers_B) for rank in range(size)]
    assert np.concatenate(shares).tolist() == numbers_B.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1  # no rank waits for another longer than it must


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("items", [1, 4, 9])
def test_turns_come_back_in_order(size: int, items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [list(Ranks(rank, size).turns(range(items))) for rank in range(size)]

    def all_gather(gathered: list[list[int]], mine: list[int]) -> None:
        gathered[:] = results

    monkeypatch.setattr("torch.distributed.all_gather_object", all_gather)
    for rank in range(size):
        assert Ranks(rank, size).in_order(results[rank]) == list(range(items))


def test_one_process_waits_for_nobody() -> None:
    assert ALONE.first and ALONE.in_order([2, 1]) == [2, 1]
