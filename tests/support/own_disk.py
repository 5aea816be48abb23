"""A node of a cluster that shares no disk with the others."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live_sweep import PATIENCE, descendants, wait_until_gone
from ray.cluster_utils import Cluster


@contextmanager
def node_with_a_disk_of_its_own(cluster: Cluster, folder: Path) -> Iterator[None]:
    """A worker node with a mount of its own: it sees an empty file system where the others see `folder`."""
    ray = f"{sys.executable} -m ray.scripts.scripts start --address={cluster.address} --num-cpus=1 --block"
    script = f"mount -t tmpfs own {folder} && exec {ray}"
    node = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not any(known["Resources"].get("CPU") for known in cluster.global_state.node_table()):
            assert node.poll() is None and time.monotonic() < deadline, "the node did not join"
            time.sleep(0.1)
        yield
    finally:
        processes = {node.pid} | descendants(node.pid)
        node.terminate()
        node.wait(timeout=PATIENCE)
        wait_until_gone(processes)
