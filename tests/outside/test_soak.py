"""A sweep of 200 short trials: memory, open files and processes hardly grow, and no process stays behind."""

import pytest
from soak import Soak, keep, soak, table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Soak:
    folder = tmp_path_factory.mktemp("soak")
    watched = soak(folder, trials=200)
    keep(watched, folder / "soak.json")
    print(f"\n{table(watched)}\nall samples: {folder / 'soak.json'}")
    return watched


def test_all_trials_of_a_long_sweep_end_well_and_no_process_stays(run: Soak) -> None:
    assert (run.trials, run.status) == (200, 0)  # soak() itself fails if a process stays behind
    assert len(run.starts) >= 190, "workers are not reused"


def test_memory_of_driver_workers_and_object_store_hardly_grows(run: Soak) -> None:
    """A leak of 0.5 MiB a trial in the driver exceeds its limit: some 100 trials lie between the two medians."""
    growth = {name: last - second for name, (second, last) in memory(run).items()}
    assert growth["driver"] < 48, growth
    assert growth["worker"] < 96, growth
    assert growth["object store"] < 8, growth
    assert run.quarters(lambda s: s.object_store_mib)[0] > 0, "blocks and table were not seen in the object store"


def memory(run: Soak) -> dict[str, tuple[float, float]]:
    return {
        "driver": run.quarters(lambda s: s.driver_mib),
        "worker": run.quarters(lambda s: s.worker_mib),
        "object store": run.quarters(lambda s: s.object_store_mib),
    }


def test_numbers_of_open_files_and_processes_hardly_grow(run: Soak) -> None:
    for value in (lambda s: s.driver_files, lambda s: s.worker_files, lambda s: s.processes):
        second, last = run.quarters(value)
        assert last - second <= 8, (second, last)
