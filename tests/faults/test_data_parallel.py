"""A trial in two processes has the curve of one (but for rounding), and survives a killed worker under Ray Train.

What each kind of teacher does in two processes needs no Ray: torchrun starts one pair of them for all kinds.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch
from live_sweep import PATIENCE, SMALL_STUDY, finish
from live_sweep import losses as sweep_losses
from paths import SUPPORT, child_environment
from small_corpus import small_config

from sweeps.engine.cluster.ray_start import Machine, start_ray
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
DYING = 30  # the step at whose report a worker is killed
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

    @cached_property
    def whole(self) -> list[Report]:
        """Reports of an undisturbed trial with two workers."""
        return self.reports({}, "whole")

    def reports(
        self, changes: dict[str, Any], name: str, killed_at: int | None = None, stopped_at: int | None = None
    ) -> list[Report]:
        """Train with two workers and return their reports; kill a worker or stop the trial at the given step."""
        reports: list[Report] = []

        def book(report: Report) -> None:
            reports.append(report)
            if report[names.STEP] == killed_at:
                os.kill(workers()[-1], signal.SIGKILL)
            if report[names.STEP] == stopped_at:
                raise Stopped

        config = override(self.config, changes)
        checkpoint = f"{name}/{names.CHECKPOINT_FILE}"
        read = partial(read_shared, self._shared, config, self._sums)
        train_together(config, read, book, RunFiles(self.folder), checkpoint, Needs(workers=2))
        return reports


def workers() -> list[int]:
    """Return the process ids of the workers of Ray Train."""
    return [
        int(process.pid)
        for process in psutil.Process().children(recursive=True)
        if "RayTrainWorker" in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoWorkers]:
    folder = tmp_path_factory.mktemp("two")
    config = override(small_config(folder), SETTING)
    start_ray(Machine(cpus=2))
    yield TwoWorkers(config, folder)
    ray.shutdown()


def losses(reports: list[Report]) -> dict[int, float]:
    return {report[names.STEP]: report[names.EVAL_LOSS] for report in reports}


@pytest.fixture(scope="module")
def alone_and_together(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[Report]], ...]:
    """Reports of each kind of teacher, in one process and in two processes of torchrun."""
    folder = tmp_path_factory.mktemp("kinds")
    configs = {kind: override(small_config(folder), SETTING | changes) for kind, changes in KINDS.items()}
    alone: dict[str, list[Report]] = {kind: [] for kind in KINDS}
    for kind, config in configs.items():
        train(config, prepare_run(config, folder / "cache")[0], alone[kind].append)
    (folder / "settings.json").write_text(json.dumps({kind: to_dict(config) for kind, config in configs.items()}))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    command = [sys.executable, *launcher, str(SUPPORT / "trial_on_ranks.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment())
    assert done.returncode == 0, done.stderr
    return alone, torch.load(folder / "reports.pt")


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


def test_after_the_death_of_a_worker_both_workers_go_on_from_the_checkpoint(two: TwoWorkers) -> None:
    whole = losses(two.whole)
    with pytest.raises(Exception) as death:  # noqa: PT011  any exception ends the run
        two.reports({}, "killed", killed_at=DYING)
    assert not isinstance(death.value, AssertionError), death.value
    resumed = losses(two.reports({}, "killed"))
    assert min(resumed) in (DYING, DYING + 10)  # the other worker may have got to its next checkpoint
    assert resumed == {step: loss for step, loss in whole.items() if step >= min(resumed)}  # bit for bit


def test_a_stopped_trial_does_no_further_step_and_frees_its_cpus(two: TwoWorkers) -> None:
    with pytest.raises(Stopped):
        two.reports({}, "stopped", stopped_at=20)
    deadline = time.monotonic() + PATIENCE
    while ray.available_resources().get("CPU") != 2:  # Ray tells free CPUs a little later
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.1)
    path = two.folder / "stopped" / names.CHECKPOINT_FILE
    kept, _ = load_checkpoint(path, fingerprint(identity(two.config)))
    assert kept.step == 20, "a checkpoint was written after the step of the stop"


def test_a_sweep_with_two_workers_for_each_trial_has_the_losses_of_a_sweep_with_one(
    undisturbed: Path, tmp_path: Path
) -> None:
    done = finish(SMALL_STUDY, tmp_path, "--seeds", "0", "--arms", "1", "--workers-per-trial", "2")
    assert done.driver.returncode == 0, done.printed
    found = sweep_losses(done.run)
    assert len(found.index.unique("trial")) == 2
    assert found.to_dict() == pytest.approx(sweep_losses(undisturbed).loc[found.index].to_dict(), abs=1e-3)


def test_an_exception_of_a_worker_is_raised(two: TwoWorkers) -> None:
    with pytest.raises(TrainingDiverged, match="at step"):
        two.reports({"optimizer.lr": 1e30, "optimizer.clip_norm": 1e30, "optimizer.warmup_steps": 0}, "diverging")
