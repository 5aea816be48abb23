"""A study as a Ray job: it is submitted to a head node that runs already, on one machine, without a network."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_sweep import PATIENCE, descendants, wait_until_gone
from paths import ROOT

from analysis.results import load
from trainable import names

RAY = (sys.executable, "-m", "ray.scripts.scripts")
COMMAND = ("python", "sweeps/schedule_search.py", "--smoke-test", "--layers", "1", "--teachers", "bigram")


def free_ports(count: int) -> list[int]:
    """Ports on which no process listens now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def dashboard() -> Iterator[str]:
    """The address to which jobs are submitted, of a head node that ends after the tests of this file."""
    session = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # the path of a socket may have at most 107 characters
    gcs, port, agent, client = free_ports(4)
    ours = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    environment |= ours | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = ["--head", "--block", "--num-cpus=2", "--node-ip-address=127.0.0.1", f"--port={gcs}"]
    words += ["--include-dashboard=true", f"--dashboard-port={port}", f"--dashboard-agent-listen-port={agent}"]
    words += [f"--ray-client-server-port={client}", "--min-worker-port=0", "--max-worker-port=0"]
    words += [f"--temp-dir={session}"]
    head = subprocess.Popen([*RAY, "start", *words], env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (answers(port) and answers(agent)):
            assert head.poll() is None and time.monotonic() < deadline, "the head did not start"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        processes = {head.pid} | descendants(head.pid)
        head.terminate()
        head.wait(timeout=PATIENCE)
        wait_until_gone(processes)
        shutil.rmtree(session, ignore_errors=True)


def submit(dashboard: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `ray job submit` with this checkout as working directory, and wait until the job has ended."""
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    command = [*RAY, "job", "submit", "--address", dashboard, "--working-dir", str(ROOT), "--", *COMMAND, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


def test_a_submitted_job_leaves_a_run_folder_with_its_verdict(dashboard: str, tmp_path: Path) -> None:
    done = submit(dashboard, "--results", str(tmp_path), "--run", "mine")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout + done.stderr
    run = tmp_path / "schedule_search" / "mine"
    assert "## Verdict" in (run / names.SUMMARY_FILE).read_text(encoding="utf-8")
    assert set(load(run).trials["state"]) <= {names.FINISHED, names.STOPPED}


def test_results_in_the_jobs_copy_of_the_working_folder_are_refused(dashboard: str) -> None:
    done = submit(dashboard)
    printed = done.stdout + done.stderr
    assert done.returncode == 1, printed
    assert "error: --results is results, which lies in the copy of the working folder that Ray removes" in printed
    assert "give an absolute path, on a file system that all nodes share." in printed
