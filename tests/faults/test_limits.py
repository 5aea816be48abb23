"""A real study and a real Ray with few open files and little shared memory."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT, child_environment

from sweeps.engine.preflight import FILES, FILES_A_WORKER

ENOUGH = FILES + 2 * FILES_A_WORKER


def test_a_study_with_too_few_open_files_ends_with_a_sentence(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "sweeps" / "schedule_search.py"), "--smoke-test", "--results", str(tmp_path)]
    limited = ["bash", "-c", 'ulimit -n 100 && exec "$@"', "bash", *words, "--cpus", "2"]
    done = subprocess.run(limited, env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: a process may open 100 files here but Ray needs about 144")
    assert len(done.stderr.strip().splitlines()) == 1, "more than a sentence"


REAL_RAY = """
import os, shutil, numpy as np, ray
from sweeps.engine.preflight import store_bytes
from sweeps.engine.cluster.ray_start import Machine, start_ray
from big_data import prepared

data = prepared(200)
start_ray(Machine(cpus=2), store_bytes(data.nbytes, lambda text: None))
stream = data.blocks["k"][0].stream_N
there = ray.get(ray.remote(lambda array: int(array.sum(dtype=np.int64))).remote(ray.put(stream)))
assert there == int(stream.sum(dtype=np.int64))
print("memory" if shutil.disk_usage("/dev/shm").used > 150 * 2**20 else "files")
"""


@pytest.mark.parametrize(("size", "where"), [("64m", "files"), ("400m", "memory")])
def test_tokens_reach_workers_with_little_shared_memory_and_the_least_number_of_open_files(
    size: str, where: str
) -> None:
    """Tokens reach a worker of a real Ray through files if /dev/shm is too small, else through shared memory."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs root for a /dev/shm of its own")
    script = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && ulimit -n {ENOUGH} && exec "$@"'
    words = ["unshare", "-m", "bash", "-c", script, "bash", sys.executable, "-c", REAL_RAY]
    done = subprocess.run(words, env=child_environment(), capture_output=True, text=True)
    assert done.stdout.strip() == where, done.stdout + done.stderr
