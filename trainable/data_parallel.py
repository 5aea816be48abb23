"""Train one trial in several processes: each runs the loop of student/train.py, under Ray Train.

Ray Train places the workers, sets up torch.distributed (gloo on CPUs, nccl on GPUs), and ends all workers when one
fails. Rank 0 hands each report to the trial, which passes it to ledger and Tune as a trial in one process does. Rank 0
waits until the trial has done this, so no worker trains past a rung at which ASHA stops the trial.
"""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ray.train
import ray.train.torch
import torch
from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE
from ray.util.queue import Empty, Queue

from trainable import names
from trainable.config import TrialConfig
from trainable.imports import garbage_collector_off
from trainable.plan import Needs
from trainable.record.run_files import RunFiles, run_files

if TYPE_CHECKING:
    from trainable.student.run_data import RunData
    from trainable.student.train import Report

_PATIENCE = 0.5  # seconds between two checks that the workers still run
_FAREWELL = 60.0  # seconds that the workers may take to end
_STARTS = 30  # attempts, of a minute each, to place the workers on the cluster
_FOR_RAY_TRAIN = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # between two looks at the workers: how late their end is noticed
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process more; a trial goes on from its last checkpoint anyway
}
_GO_ON = True
_AT_WORK = threading.Lock()


class _Ended(Exception):
    """Raised in a worker to end its loop when the trial is stopped before its last step."""


def train_together(
    config: TrialConfig,
    read: "Callable[[], RunData]",
    report: "Callable[[Report], None]",
    files: RunFiles,
    checkpoint: str,
    needs: Needs,
) -> None:
    """Train one model with the workers that `needs` asks for, each reading its own data.

    `checkpoint` is the name of a file in the run folder of `files`, which all nodes must see. Raises the error that a
    worker raised.
    """
    _tell_ray_train()
    handed_in, dealt_with = (Queue(actor_options={"num_cpus": 0}) for _ in range(2))
    task = {
        "config": config,
        "read": read,
        "run": files.address,
        "checkpoint": checkpoint,
        "threads": max(1, int(needs.cpus)),
        "handed_in": handed_in,
        "dealt_with": dealt_with,
    }
    trainer = ray.train.torch.TorchTrainer(
        _work,
        train_loop_config=task,
        scaling_config=ray.train.ScalingConfig(
            num_workers=needs.workers, use_gpu=needs.gpus > 0, resources_per_worker=needs.of_worker
        ),
        # nothing reads Ray Train's own state: it gets a new name each time, and only Tune retries a trial
        run_config=ray.train.RunConfig(
            storage_path=str(files.path / names.TUNE_FOLDER),
            failure_config=ray.train.FailureConfig(controller_failure_limit=_STARTS),
        ),
    )
    with _AT_WORK:
        fit = _Fit(trainer)
        fit.start()
        try:
            _pass_on(handed_in, dealt_with, report, fit)
        except BaseException:  # Tune ends the trial by an exception in `report`
            dealt_with.put(not _GO_ON)
            fit.join()
            raise
    if fit.error is not None:
        raise fit.error


def _tell_ray_train() -> None:
    """Set variables for Ray Train's own processes.

    One of them frees the CPUs of a trial whose process was killed. Without RAY_ADDRESS it asks the cluster that the
    last `ray start` on this machine began. If that is another one, no CPU is freed; if it is gone, each trial ends
    late, by 12 s.
    """
    os.environ |= {**_FOR_RAY_TRAIN, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    ENV_VARS_TO_PROPAGATE.add("RAY_ADDRESS")  # Ray Train passes the others on by itself


def wait_for_workers() -> None:
    """Wait until the workers of this process have ended and freed their resources on the cluster."""
    if _AT_WORK.acquire(timeout=_FAREWELL):
        _AT_WORK.release()


def _pass_on(handed_in: Queue, dealt_with: Queue, report: "Callable[[Report], None]", fit: "_Fit") -> None:
    """Report what rank 0 hands in, until the workers have ended."""
    while fit.is_alive() or not handed_in.empty():
        try:
            row = handed_in.get(timeout=_PATIENCE)
        except Empty:
            continue
        report(row)
        dealt_with.put(_GO_ON)


class _Fit(threading.Thread):
    """Thread that runs Ray Train, because only the trial's own thread may report to Tune. Ends with the process."""

    def __init__(self, trainer: Any):
        super().__init__(daemon=True)
        self._trainer = trainer
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._trainer.fit()
        except ray.train.WorkerGroupError as error:
            self.error = _first_cause(error)
        except BaseException as error:  # train_together raises it
            self.error = error


def _first_cause(error: ray.train.WorkerGroupError) -> BaseException:
    """Error of the lowest failing rank; the others mostly fail because of it."""
    cause: BaseException = error.worker_failures[min(error.worker_failures)]
    return cause


def _work(task: dict[str, Any]) -> None:
    """Loop of one worker under Ray Train; only here transformers is imported."""
    with garbage_collector_off():
        from trainable.student.ranks import Ranks
        from trainable.student.train import train

    torch.set_num_threads(task["threads"])
    if (device := ray.train.torch.get_device()).type == "cuda":
        torch.cuda.set_device(device)
    files, checkpoint = run_files(task["run"]), task["checkpoint"]
    context = ray.train.get_context()
    ranks = Ranks(context.get_world_rank(), context.get_world_size())

    def hand_in(row: "Report") -> None:
        files.publish()  # the checkpoint first, then the report that follows it
        task["handed_in"].put(row)
        if task["dealt_with"].get() != _GO_ON:
            raise _Ended

    config: TrialConfig = task["config"]
    with files.writing():
        train(config, task["read"](), hand_in, files.fetched(checkpoint), ranks)
