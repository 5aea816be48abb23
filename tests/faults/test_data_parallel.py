"""A trial in two processes has the curve of one (but for rounding), and survives killed processes under Ray Train.

What each kind of teacher does in two processes needs no Ray: torchrun starts one pair of them for all kinds.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import ray
import torch
from live_sweep import PATIENCE, SMALL_STUDY, LiveSweep, command_line
from live_sweep import losses as sweep_losses
from paths import SUPPORT, child_environment
from ray.cluster_utils import Cluster
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from small_corpus import small_config

from sweeps.engine.cluster.ray_start import Machine, start_ray
from sweeps.engine.folder import RunFolder
from trainable import names
from trainable.config import TrialConfig, identity, override, to_dict
from trainable.data_parallel import train_together
from trainable.errors import TrainingDiverged
from trainable.plan import Needs, data_key, table_key
from trainable.prepare import prepare_run
from trainable.record.files import fingerprint
from trainable.record.run_files import RunFiles
from trainable.shared_data import checksums
from trainable.student.checkpoint import load_checkpoint
from trainable.student.train import Report, train
from trainable.trial import read_shared

STEPS = 50
DIAGNOSIS = (names.OUTPUT_ENTROPY, names.HIDDEN_COSINE, names.UNIGRAM_KL)
CONTROL, ARM = ("none-L1-s0", "linear-0-L1-s0")  # trials of tests/support/small_study.py
SETTING = {
    "loop.steps": STEPS,
    "loop.eval_every": 10,
    "loop.checkpoint_every": 10,
    "loop.batch_blocks": 3,  # one worker takes 2 of them
    "loop.accumulation": 2,
    "teacher.schedule": "linear",
    "teacher.steps": 40,
    "teacher.min_weight": 0.1,
}

KINDS: dict[str, dict[str, Any]] = {
    "bigram": {},
    "trigram, output bias": {
        "teacher.kind": "ngram",
        "teacher.order": 3,
        "teacher.smoothing": "modified_kneser_ney",
        "model.output_bias": "unigram",
    },
    "model": {"teacher.kind": "model", "teacher.model.hidden": 16, "teacher.model.steps": 20},
}


class Stopped(Exception):
    """Exception that stands for the one that Tune raises in a report to end a trial."""


class TwoWorkers:
    """Trials with two workers of Ray Train, on blocks and a table in the object store."""

    def __init__(self, config: TrialConfig, folder: Path):
        data = prepare_run(config, folder / "cache")[0]
        assert data.table is not None
        blocks, tables = {data_key(config): (data.train, data.eval)}, {table_key(config): data.table}
        self.config, self.folder = config, folder
        self._shared, self._sums = [ray.put((blocks, tables))], checksums(blocks, tables)

    def train(self, changes: dict[str, Any], name: str, stopped_at: int | None = None) -> None:
        """Train with two workers; stop the trial at the given step."""

        def book(report: Report) -> None:
            if report[names.STEP] == stopped_at:
                raise Stopped

        config = override(self.config, changes)
        checkpoint = f"{name}/{names.CHECKPOINT_FILE}"
        read = partial(read_shared, self._shared, config, self._sums)
        train_together(config, read, book, RunFiles(self.folder), checkpoint, Needs(workers=2))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoWorkers]:
    folder = tmp_path_factory.mktemp("two")
    config = override(small_config(folder), SETTING)
    with mock.patch.dict(os.environ):  # restored after: a trial sets variables for Ray Train in its process
        start_ray(Machine(cpus=2, dashboard=False))
        yield TwoWorkers(config, folder)
        ray.shutdown()


def losses(reports: list[Report]) -> dict[int, float]:
    return {report[names.STEP]: report[names.EVAL_LOSS] for report in reports}


def on_two_ranks(configs: dict[str, TrialConfig], folder: Path) -> dict[str, list[Report]]:
    """Reports of each training by the two processes of torchrun, one thread each. Needs no Ray."""
    for config in configs.values():
        prepare_run(config, folder / "cache")
    (folder / "settings.json").write_text(json.dumps({name: to_dict(config) for name, config in configs.items()}))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    command = [sys.executable, *launcher, str(SUPPORT / "trial_on_ranks.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment())
    assert done.returncode == 0, done.stderr
    reports: dict[str, list[Report]] = torch.load(folder / "reports.pt")
    return reports


@pytest.fixture(scope="module")
def alone_and_together(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[Report]], ...]:
    """Reports of each kind of teacher, in one process and in two."""
    folder = tmp_path_factory.mktemp("kinds")
    configs = {kind: override(small_config(folder), SETTING | changes) for kind, changes in KINDS.items()}
    alone: dict[str, list[Report]] = {kind: [] for kind in KINDS}
    for kind, config in configs.items():
        train(config, prepare_run(config, folder / "cache")[0], alone[kind].append)
    return alone, on_two_ranks(configs, folder)


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_curve_of_one_but_for_rounding(
    alone_and_together: tuple[dict[str, list[Report]], ...], kind: str
) -> None:
    alone, together = (reports[kind] for reports in alone_and_together)
    # sums over two processes round differently; with a teacher that was trained for few steps, the difference grows
    grows = kind == "model"
    early = {step: loss for step, loss in losses(alone).items() if step <= STEPS // 2}
    assert {step: losses(together)[step] for step in early} == pytest.approx(early, abs=1e-4)
    assert losses(together) == pytest.approx(losses(alone), abs=3e-3 if grows else 1e-4)
    assert list(losses(together)) == list(range(0, STEPS + 1, 10))
    for column in (names.TOKENS, names.TEACHER_WEIGHT, names.LEARNING_RATE):
        assert [report[column] for report in together] == [report[column] for report in alone]
    for column in () if grows else (names.TRAIN_LOSS, names.GRAD_NORM, names.CLIPPED_SHARE, *DIAGNOSIS):
        assert together[-1][column] == pytest.approx(alone[-1][column], abs=1e-3), column


def test_a_stopped_trial_does_no_further_step_and_frees_its_cpus(two: TwoWorkers) -> None:
    with pytest.raises(Stopped):
        two.train({}, "stopped", stopped_at=20)
    deadline = time.monotonic() + PATIENCE
    while ray.available_resources().get("CPU") != 2:  # Ray tells free CPUs a little later
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.1)
    assert get_env_vars_to_propagate()["RAY_ADDRESS"] == ray.get_runtime_context().gcs_address, (
        "Ray Train's own processes would ask another cluster, and free no CPUs of a killed trial"
    )
    path = two.folder / "stopped" / names.CHECKPOINT_FILE
    kept, _ = load_checkpoint(path, fingerprint(identity(two.config)))
    assert kept.step == 20, "a checkpoint was written after the step of the stop"


def processes(sweep: LiveSweep, title: str) -> list[int]:
    return [pid for pid in sweep.processes() if command_line(pid).startswith(title)]


@pytest.fixture
def another_ray() -> Iterator[None]:
    """A Ray beside that of the sweep, which Ray Train's own processes could take for theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        other = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        yield
        other.shutdown()


def test_trials_of_two_workers_go_on_after_the_death_of_a_worker_or_of_the_trials_own_process(
    another_ray: None, undisturbed: Path, tmp_path: Path
) -> None:
    """A sweep with two workers for each trial, and disturbed so, has the losses of undisturbed ones, bit for bit."""
    words = ("--seeds", "0", "--arms", "1", "--workers-per-trial", "2")
    with LiveSweep(SMALL_STUDY, tmp_path, *words, dashboard=True) as sweep:
        sweep.wait_for_trial(names.CONTROL, after_step=40)
        os.kill(processes(sweep, "ray::RayTrainWorker")[-1], signal.SIGKILL)
        sweep.wait_for_trial(names.ARM, after_step=40)
        [trial] = processes(sweep, f"ray::{ARM}")
        os.kill(trial, signal.SIGKILL)
        assert sweep.end() == 0, sweep.printed
    assert sweep.printed.count("goes on from its last checkpoint (restart 1 of 2)") == 2
    found = sweep_losses(sweep.run)
    assert list(found.index.unique("trial")) == [ARM, CONTROL]
    one = sweep_losses(undisturbed).loc[found.index]
    assert found.to_dict() == pytest.approx(one.to_dict(), abs=1e-3)
    plans = {plan.name: plan.config for plan, _, _ in RunFolder.open(sweep.run).trials()}
    for name, reports in on_two_ranks(plans, tmp_path).items():
        assert found[name].to_dict() == losses(reports), name


def test_an_exception_of_a_worker_is_raised(two: TwoWorkers) -> None:
    with pytest.raises(TrainingDiverged, match="at step"):
        two.train({"optimizer.lr": 1e30, "optimizer.clip_norm": 1e30, "optimizer.warmup_steps": 0}, "diverging")
