"""How many trials of given needs a cluster has room for."""

import pytest

from trainable.plan import Needs


@pytest.mark.parametrize(
    ("needs", "has", "slots"),
    [
        (Needs(), {"CPU": 4}, 4),
        (Needs(cpus=0.5), {"CPU": 4}, 8),
        (Needs(workers=2), {"CPU": 5}, 2),
        (Needs(workers=2, cpus=2), {"CPU": 16, "GPU": 8}, 4),
        (Needs(workers=2, gpus=1), {"CPU": 16, "GPU": 5}, 2),
        (Needs(workers=2, gpus=0.5), {"CPU": 16, "GPU": 1}, 1),
        (Needs(cpus=8), {"CPU": 4}, 1),  # it may grow
    ],
)
def test_slots(needs: Needs, has: dict[str, float], slots: int) -> None:
    assert needs.slots(has) == slots


def test_tune_sets_nothing_aside_that_the_workers_take() -> None:
    assert Needs(cpus=2, gpus=1).reserved == {"CPU": 2, "GPU": 1}
    assert not {"CPU", "GPU"} & Needs(cpus=2, gpus=1, workers=2).reserved.keys()
