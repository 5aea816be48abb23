"""A node of a real Ray cluster is removed while trials run on it: the trials go on at another node."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_sweep import SMALL_STUDY, LiveSweep, descendants, same_losses, wait_until_gone
from ray.cluster_utils import Cluster

from trainable import names


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Start a head that runs no trial, and two nodes with one CPU each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            nodes.add_node(num_cpus=1)
        yield nodes
        nodes.shutdown()


def processes(node: object) -> set[int]:
    """Return the process ids of the servers of a node and of all processes that they started."""
    servers = {info.process.pid for kind in node.all_processes.values() for info in kind}  # type: ignore[attr-defined]
    return servers | {pid for server in servers for pid in descendants(server)}


def test_trials_of_a_dead_node_go_on_elsewhere_with_the_same_losses(
    cluster: Cluster, undisturbed: Path, tmp_path: Path
) -> None:
    with LiveSweep(SMALL_STUDY, tmp_path, "--address", cluster.address) as sweep:
        trial = sweep.wait_for_trial(names.CONTROL, after_step=20)
        worker = sweep.worker(trial)
        (node,) = [node for node in cluster.worker_nodes if worker in processes(node)]
        lost = processes(node)
        cluster.remove_node(node, allow_graceful=False)
        assert sweep.end() == 0, sweep.printed
    wait_until_gone(lost)
    assert "the node of its worker died or cannot be reached; goes on from its last checkpoint" in sweep.printed
    same_losses(sweep.run, undisturbed)
