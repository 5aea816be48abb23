"""The tiers of the tests (tests/README.md), and fixtures that several test modules share."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from filelock import FileLock
from hypothesis import settings
from live_sweep import SEARCH, SMALL_STUDY, finish
from paths import ROOT, child_environment
from ray.cluster_utils import Cluster
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

settings.register_profile("any machine", deadline=None)  # tests never assert on wall-clock time
settings.load_profile("any machine")

TESTS = Path(__file__).parent
TIERS = ("faults", "outside")  # folders here, and the markers of what lies in them
SHARE_RAY = (  # one Ray and one sweep, the fixtures `ray_address` and `finished`
    "tests/test_sweep.py",
    "tests/sweeps/engine/cluster/test_ray_workers.py",
    "tests/sweeps/engine/export/test_export.py",
    "tests/trainable/test_trial.py",
)
LONG = (  # files that take minutes, longest first: begun last, one of them would run alone at the end of a tier
    "test_data_parallel.py",
    "test_driver_death.py",
    "test_study_runs.py",
    "test_surroundings.py",
    "test_worker_death.py",
    "test_stored_run.py",
    "test_sweep_of_teachers.py",
    "test_disk_full.py",
    "test_watch_page.py",
    "test_recipes.py",
    "test_interrupt.py",
    "test_job.py",
    "test_every_decoder.py",
    "test_soak.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the fast tier on all cores for `pytest` without a path or -m; run chosen tests one after the other."""
    if not config.option.markexpr and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.option.markexpr = " and ".join(f"not {tier}" for tier in TIERS)
        if not hasattr(config, "workerinput") and config.option.numprocesses is None:  # xdist's start none
            config.option.numprocesses = "auto"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tiers by folder, and begin with what takes longest: LONG, then the tests at the top of tests/."""
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier in TIERS:
            item.add_marker(tier)
    long = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: (long.get(item.path.name, len(LONG)), len(item.path.parts)))


class ByFile(LoadFileScheduling):
    """Gives a process whole files, so that what a file shares is made once, and one process all files of SHARE_RAY."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "ray" if file in SHARE_RAY else file

    def remove_node(self, node: WorkerController) -> str | None:
        """Give others what a dead process left, but not the test that killed it, which xdist 3.8 gives out again."""
        left = {file: tests for file, tests in self.assigned_work.pop(node).items() if not all(tests.values())}
        if not left:
            return None
        tests = next(iter(left.values()))
        killed = next(test for test, is_done in tests.items() if not is_done)
        tests[killed] = True
        self.workqueue.update(left)
        for other in self.nodes:
            self._reschedule(other)
        return killed

    def _reschedule(self, node: WorkerController) -> None:
        """Go on until a process has two tests: with one it waits for the next, for ever once a process has died."""
        super()._reschedule(node)
        if not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            self._reschedule(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    """Give out files in the order of collection, not by number of tests; keep any --dist but the default."""
    if config.option.dist != "load":
        return None
    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.fixture(autouse=True)
def no_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep dry runs in this process from measuring; tests/sweeps/engine/budget tests the predicted time."""
    monkeypatch.setattr("sweeps.engine.cli.time_of", lambda *_: "as long as it takes")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of development data beside the checkout; tests that need it are skipped if it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the development data in {folder}")
    return folder


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """Address of a Ray with two CPUs, which tests join as a user joins a cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        yield nodes.address
        nodes.shutdown()


@pytest.fixture(scope="module")
def one_ray(ray_address: str) -> Iterator[None]:
    """Join this process to the Ray of `ray_address`; workers find tests/support."""
    found = {"PYTHONPATH": child_environment()["PYTHONPATH"]}
    ray.init(ray_address, logging_level="ERROR", log_to_driver=False, runtime_env={"env_vars": found})
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(run folder, printed text) of the main job's smoke test; its best model is in `model`, beside the study's folder.

    The run is in float32, so that transformers gets the losses of the ledgers to the last digits.
    """
    results = tmp_path_factory.mktemp("results")
    words = ["--smoke-test", "--results", str(results), "--export", "best", str(results / "model")]
    words += ["--set", "loop.precision=float32"]
    done = subprocess.run(
        [sys.executable, str(SEARCH), *words], capture_output=True, text=True, env=child_environment(), check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    (run,) = (results / "schedule_search").iterdir()
    return run, done.stdout


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of tests/support/small_study.py after an undisturbed run; all processes share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "undisturbed"
    with FileLock(f"{folder}.lock"):
        if not (folder / "whole").exists():
            sweep = finish(SMALL_STUDY, folder)
            assert sweep.driver.returncode == 0, sweep.printed
            (folder / "whole").symlink_to(sweep.run)
    return (folder / "whole").resolve()
