"""Preparation on a real cluster: the bits of one process, also if a worker dies; pieces of a dead node run again."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import shard_runs
from numpy.typing import NDArray
from ray.cluster_utils import Cluster
from shard_runs import checksums, config_of, cut_small

from sweeps.engine.cluster.ray_workers import AHEAD, RayWorkers
from trainable.teacher import build as teacher


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Start a head without CPUs and one node with one CPU; tests may add another node."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.cloudpickle.register_pickle_by_value(shard_runs)
        ray.cloudpickle.register_pickle_by_value(__import__(__name__))
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
        ray.init(address=nodes.address, logging_level="ERROR", log_to_driver=False)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


class Dying(RayWorkers):
    """Workers of Ray, of which the one that gets the third piece is killed, once."""

    def __init__(self, mark: Path) -> None:
        super().__init__()
        self.mark = mark

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return super().map(partial(killed_once, self.mark, function), enumerate(items))


def killed_once(mark: Path, function: Callable[[Any], Any], item: tuple[int, Any]) -> Any:
    if item[0] == 2 and not mark.exists():
        mark.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return function(item[1])


def test_one_node_two_nodes_and_a_killed_worker_give_the_bits_of_one_process(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_small(monkeypatch)
    monkeypatch.setattr(teacher, "TRAVELLING_TOKENS", 500)
    expected = {how: checksums(config_of(tmp_path, how), tmp_path / "here") for how in ("packed", "as_published")}

    def found(name: str, workers: RayWorkers) -> dict[str, tuple[str, str, str]]:
        return {how: checksums(config_of(tmp_path, how), tmp_path / name, workers=workers) for how in expected}

    one = RayWorkers()
    assert one.size == 1
    assert found("one", one) == expected
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    two = RayWorkers()
    assert two.size == 2
    assert found("two", two) == expected
    mark = tmp_path / "mark"
    assert found("killed", Dying(mark)) == expected
    assert mark.is_file(), "no worker was killed"


def slow_and_marked(folder: Path, item_n: NDArray[Any]) -> NDArray[Any]:
    time.sleep(0.3)  # so that each node gets pieces
    (folder / str(item_n[0])).touch()
    return item_n + 1


def test_pieces_of_a_dead_node_are_done_by_the_others(cluster: Cluster, tmp_path: Path) -> None:
    """Pieces of a removed node run again elsewhere, also finished pieces whose results lay in its object store."""
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    workers = RayWorkers()
    items = (np.full(100_000, i) for i in range(20))  # too large for messages, so they lie in an object store
    results = workers.map(partial(slow_and_marked, tmp_path), items)
    found = [int(next(results)[0])]
    while len(list(tmp_path.iterdir())) < AHEAD * workers.size:
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)
    found += [int(result[-1]) for result in results]
    assert found == list(range(1, 21))
