"""Results on a disk that a node of the cluster does not share are refused."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_sweep import SMALL_STUDY, finish
from own_disk import node_with_a_disk_of_its_own
from ray.cluster_utils import Cluster


@pytest.fixture
def head() -> Iterator[Cluster]:
    """Start the head of a cluster, which runs no trial."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        yield nodes
        nodes.shutdown()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a process mounts of its own")
def test_results_on_a_disk_that_a_node_does_not_share_are_refused_before_any_trial(
    head: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    with node_with_a_disk_of_its_own(head, tmp_path / "results"):
        sweep = finish(SMALL_STUDY, tmp_path, "--address", head.address)
    assert sweep.driver.returncode == 2, sweep.printed
    assert "cannot be seen from node" in sweep.printed and "all nodes share, or a URI" in sweep.printed, sweep.printed
    assert "Traceback" not in sweep.printed
    assert not list(sweep.results.glob("*/*")), "a run without trials is left behind"
