"""Sweeps that write to an S3 store, also from nodes that share no disk, have the losses of a sweep on a disk."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from live_sweep import PATIENCE, SMALL_STUDY, agents, corpus_file, descendants, same_losses, wait_until_gone
from own_disk import node_with_a_disk_of_its_own
from ray.cluster_utils import Cluster
from s3_server import BUCKET, s3_server

from analysis.results import load
from sweeps.engine.folder import RunFolder
from trainable import names
from trainable.record.run_files import StoredRunFiles
from trainable.record.store import Store

NOT_SENT = (names.TUNE_FOLDER, names.FIGURES_FOLDER, names.SUMMARY_FILE)


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def results(request: pytest.FixtureRequest) -> str:
    return f"s3://{BUCKET}/{request.node.name}"


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start the small study in a process of its own."""
    command = [sys.executable, str(SMALL_STUDY), "--corpus", str(corpus_file(folder)), "--no-dashboard", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def printed(sweep: subprocess.Popen[str], status: int = 0) -> str:
    """Wait for the end of a sweep with this exit status; return all that it printed."""
    said, _ = sweep.communicate(timeout=2 * PATIENCE)
    assert sweep.returncode == status, said
    return said


def fetched(uri: str) -> Iterator[RunFolder]:
    """Yield the run as it is in the store, if it has begun; its local copy is deleted after the loop."""
    folder = RunFolder.at(uri)
    folder.files.fetch_records()
    if folder.begun:
        yield folder


def last_steps(uri: str) -> list[int]:
    """Return the last step of each trial that has reported."""
    ledgers = [reports for folder in fetched(uri) for _, _, reports in folder.trials() if reports]
    return [int(reports[-1][names.STEP]) for reports in ledgers]


def analyse(module: str, run: str) -> subprocess.CompletedProcess[str]:
    """Run a command of analysis/ in a wide terminal."""
    command = [sys.executable, "-m", f"analysis.{module}", run]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "500"})


def wait_until(condition: Callable[[], bool], sweep: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert sweep.poll() is None and time.monotonic() < deadline, sweep.stdout and sweep.stdout.read()
        time.sleep(0.1)


def test_a_killed_sweep_goes_on_and_ends_as_on_a_disk(undisturbed: Path, results: str, tmp_path: Path) -> None:
    run, words = f"{results}/small_study/mine", ("--seeds", "0", "--cpus", "1", "--results", results, "--run", "mine")
    sweep = start(tmp_path, *words)
    wait_until(lambda: max(last_steps(run), default=0) > 20, sweep)
    lost = {sweep.pid} | descendants(sweep.pid)
    sweep.kill()
    sweep.communicate()
    wait_until_gone(lost - agents(lost))
    assert len(last_steps(run)) < 3, "the sweep was killed too late"
    said = printed(start(tmp_path, *words))
    assert f"load('{run}')" in said and "bigram-run-" not in said
    same_losses(run, undisturbed, trials=3)
    stored = set(Store(run).list())
    assert {names.SUMMARY_FILE, names.TRIALS_TABLE, f"{names.FIGURES_FOLDER}/curves.png"} <= stored
    assert not [name for name in stored if name.startswith(names.TUNE_FOLDER) or "/." in name or name[0] == "."]


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Start a head that runs no trial; Ray's files lie in /tmp, for the path of a socket has at most 107 characters."""
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield nodes
    nodes.shutdown()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a process mounts of its own")
def test_nodes_that_share_no_disk_have_the_losses_of_one_node(
    undisturbed: Path, head: Cluster, results: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "own"))  # for the local copies of the run
    (tmp_path / "own").mkdir()
    with (
        node_with_a_disk_of_its_own(head, tmp_path / "own"),
        node_with_a_disk_of_its_own(head, tmp_path / "own"),
    ):
        words = ("--address", head.address, "--seeds", "0", "--results", results, "--run", "mine")
        printed(start(tmp_path, *words, "--export", "best", str(tmp_path / "model")))
    run = f"{results}/small_study/mine"
    same_losses(run, undisturbed, trials=3)
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_commands_read_a_stored_run_and_write_into_it(undisturbed: Path, results: str) -> None:
    run, files = f"{results}/small_study/mine", StoredRunFiles(f"{results}/small_study/mine")
    with files.writing():
        shutil.copytree(undisturbed, files.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_SENT))
    pd.testing.assert_frame_equal(load(run).trials, load(undisturbed).trials)
    for module, told in (
        ("summary", f"load('{run}')"),
        ("report", f"{run}/report.html"),
        ("curves", f"{run}/figures/"),
    ):
        done = analyse(module, run)
        assert done.returncode == 0 and told in " ".join(done.stdout.split()), done.stdout + done.stderr
        assert "bigram-run-" not in done.stdout + done.stderr
    assert files.has("report.html") and files.has("figures/train_loss.png")
    absent = analyse("summary", f"{run}s")
    assert absent.returncode == 2 and absent.stderr.startswith(f"{run}s is not a run folder"), absent.stderr
