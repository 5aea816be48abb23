"""Number of trials that a cluster runs at once, and the resources that Tune reserves for each trial."""

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
        (Needs(cpus=8), {"CPU": 4}, 1),  # the cluster may grow
    ],
)
def test_slots_are_the_trials_that_fit_in_a_cluster_at_once(needs: Needs, has: dict[str, float], slots: int) -> None:
    assert needs.slots(has) == slots


def test_tune_reserves_no_cpu_or_gpu_for_a_trial_of_several_workers() -> None:
    assert Needs(cpus=2, gpus=1).reserved == {"CPU": 2, "GPU": 1}
    assert not {"CPU", "GPU"} & Needs(cpus=2, gpus=1, workers=2).reserved.keys()


def test_a_process_runs_several_trials_in_turn_unless_a_trial_has_several_workers() -> None:
    assert Needs().actors_reusable and Needs(gpus=0.5).actors_reusable
    assert not Needs(workers=2).actors_reusable and not Needs(gpus=1, workers=2).actors_reusable
