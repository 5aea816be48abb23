"""Ranks: the shares of all ranks, put together, are the whole in its order."""

import numpy as np
import pytest

from trainable.student.ranks import ALONE, Ranks


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_of_a_micro_batch_are_the_batch(size: int) -> None:
    numbers_B = np.array([7, 3, 9, 1, 4])
    shares = [Ranks(rank, size).share(numbers_B) for rank in range(size)]
    assert np.concatenate(shares).tolist() == numbers_B.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1  # equal shares but for one block, so no rank waits long


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("items", [1, 4, 9])
def test_results_of_all_ranks_are_gathered_in_the_order_of_the_turns(
    size: int, items: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = [list(Ranks(rank, size).turns(range(items))) for rank in range(size)]

    def all_gather(gathered: list[list[int]], mine: list[int]) -> None:
        gathered[:] = results

    monkeypatch.setattr("torch.distributed.all_gather_object", all_gather)
    for rank in range(size):
        assert Ranks(rank, size).in_order(results[rank]) == list(range(items))


def test_a_single_process_is_the_first_rank_and_gathers_only_its_own_results() -> None:
    assert ALONE.first and ALONE.in_order([2, 1]) == [2, 1]
