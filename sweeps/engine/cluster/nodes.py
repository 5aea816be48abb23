"""Check once, before the first trial, that each node of a cluster sees the run folder and has this package.

On a node without them, trial after trial would fail. A node that joins later is not checked, but its trials refuse to
run without the run folder (trainable/trial.py).
"""

from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trainable.errors import InputError
from trainable.record.run_files import RunFiles

PATIENCE = 5.0  # seconds that a network file system may take to show a file that another machine has just made
ANSWER = 120.0  # seconds to wait for the answer of a node, which then counts as fine
UNSEEN = "no run folder"
_FINE = ""


def check_nodes(run: RunFiles) -> None:
    """Raise InputError unless every other node that can run a trial sees the run folder and has the package."""
    nodes = other_nodes()
    if not nodes:
        return
    mark = run.leave_mark()
    try:
        asked = {address: _ask(node, run.address, mark) for node, address in nodes.items()}  # all at once
        judge({address: _answer(question) for address, question in asked.items()}, run.address)
    finally:
        run.remove(mark)


def other_nodes() -> dict[str, str]:
    """{id: address} of the living nodes with CPUs, without the driver's own node."""
    own = ray.get_runtime_context().get_node_id()
    living = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != own]
    return {node["NodeID"]: node["NodeManagerAddress"] for node in living if node["Resources"].get("CPU")}


def judge(answers: Mapping[str, str], run: str) -> None:
    """Raise InputError if a node lacks something; answers: {address of a node: what it lacks, or an empty text}."""
    lacking = {address: lack for address, lack in answers.items() if lack != _FINE}
    if not lacking:
        return
    lack = next(iter(lacking.values()))
    nodes = ", ".join(address for address, its in lacking.items() if its == lack)
    where = f"node {nodes}" if nodes in lacking else f"nodes {nodes}"
    if lack == UNSEEN:
        raise InputError(
            f"run folder {run} cannot be seen from {where}: give --results a folder on a file system that all nodes "
            "share, or a URI that all of them may read."
        )
    raise InputError(f"{where} cannot run trials ({lack}): install this package there, at the same version.")


def _ask(node: str, run: str, mark: str) -> Any:
    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_look()).remote(run, mark)


def _answer(question: Any) -> str:
    try:
        return str(ray.get(question, timeout=ANSWER))
    except RayError:  # the node has died meanwhile, or is too busy to answer
        return _FINE


def _look() -> Callable[[str, str], str]:
    """Return the function that runs on a node; being nested, it is pickled whole and needs no package on the node."""
    unseen, fine, patience = UNSEEN, _FINE, PATIENCE

    def look(run: str, mark: str) -> str:
        import importlib
        import time

        try:
            files = importlib.import_module("trainable.record.run_files").run_files(run)
        except ImportError as error:
            return str(error)
        deadline = time.monotonic() + patience
        while not files.has(mark):
            if time.monotonic() > deadline:
                return unseen
            time.sleep(0.1)
        return fine

    return look
