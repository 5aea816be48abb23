"""One trial, as a Ray Tune trainable.

A trial writes everything that must not be lost (ledger, checkpoint, status) to `trials/<name>/` in its run folder. Tune
decides when trials run and stop; nothing that must not be lost is kept by Tune.

What trains is imported only in a process that trains, for transformers takes seconds to import. The process of a trial
with several workers does not train.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune.trainable import wrap_function
from ray.util.metrics import Gauge

from trainable import names
from trainable.config import TrialConfig, flatten
from trainable.errors import InputError, TrainingDiverged
from trainable.gauges import TrialGauges
from trainable.imports import garbage_collector_off
from trainable.plan import Needs, TrialPlan
from trainable.record.files import is_disk_full
from trainable.record.ledger import append_row, read_reports
from trainable.record.run_files import RunFiles, run_files
from trainable.record.tensorboard import TensorBoardLog
from trainable.record.trial_files import checkpoint_name, write_status

if TYPE_CHECKING:
    from trainable.prepare import BlocksByKey, TablesByKey
    from trainable.student.run_data import RunData
    from trainable.student.train import Report


def make_trainable(run: str, blocks: "BlocksByKey", tables: "TablesByKey", needs: Needs) -> Any:
    """Make the trainable for a Tuner, and put blocks and tables in the object store, once.

    run: path or URI of the run folder, which all nodes must see. blocks: {data_key: (training, validation)}. tables:
    {table_key: table}.
    """
    shared = ray.put((blocks, tables))
    function = tune.with_parameters(run_trial, run=run, shared=[shared], needs=needs)

    class GuidedTrial(wrap_function(function)):  # type: ignore[misc]
        __qualname__ = "GuidedTrial"  # the class name that the dashboard shows

        def __repr__(self) -> str:  # the dashboard reads this name once; an actor may run later trials too
            return f"{self.config['name']}{' and later' if needs.actors_reusable else ''}"

        def step(self) -> Any:
            name_process(self.config["name"])
            return super().step()

        def cleanup(self) -> None:
            try:
                super().cleanup()
            finally:
                end_workers(needs)

        @classmethod
        def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
            return tune.PlacementGroupFactory([needs.reserved])

    return GuidedTrial


def end_workers(needs: Needs) -> None:
    """Wait for a trial's workers before its process ends, or their resources might stay reserved on the cluster."""
    if needs.workers > 1:
        from trainable.data_parallel import wait_for_workers

        wait_for_workers()


def name_process(trial: str) -> None:
    """Show which trial a worker runs in the dashboard's Cluster page, `ps` and `top`.

    The function by which Ray sets the title of a worker is private, so it may be missing in another version.
    """
    set_title = getattr(ray._raylet, "setproctitle", None)
    if set_title is not None:
        set_title(f"ray::{trial}")


def run_trial(tune_config: dict[str, Any], *, run: str, shared: list[Any], needs: Needs) -> None:
    """Train one trial to its end; each report goes to its ledger first and then to Tune."""
    plan = TrialPlan.from_dict(tune_config["plan"])
    print(f"trial {plan.name}", flush=True)  # for the actor's log: a reused actor keeps the name of its first trial
    files = run_files(run)
    folder = trial_folder(files, plan.name)
    try:
        with files.writing():
            write_status(folder, names.RUNNING)
        try:
            with files.writing(), closing(_Reporter(plan, files, control_losses(files, plan))) as reporter:
                read = partial(read_shared, shared, plan.config, tune_config["checksums"])
                _train(plan, read, reporter, files, needs)
        except (TrainingDiverged, InputError) as error:  # a retry by Tune would fail in the same way
            with files.writing():
                diverged_at = error.step if isinstance(error, TrainingDiverged) else None
                write_status(folder, names.FAILED, files.shown(str(error)), diverged_at)
    except OSError as error:
        if not is_disk_full(error):
            raise
        # The trial has not failed: the driver sees the full disk too and ends the sweep, which can be resumed.
        print(f"{folder} has no room ({error})", flush=True)


def read_shared(shared: list[Any], config: TrialConfig, checksums: dict[str, str]) -> "RunData":
    """Read the data of a run of `config` in this process or a worker; shared: [reference to blocks, tables]."""
    with garbage_collector_off():
        from trainable.shared_data import data_of

    return data_of(config, checksums, *ray.get(shared[0]))


def _train(
    plan: TrialPlan,
    read: "Callable[[], RunData]",
    report: "Callable[[Report], None]",
    files: RunFiles,
    needs: Needs,
) -> None:
    """Train in this process or, with several workers, under Ray Train."""
    checkpoint = checkpoint_name(plan.name)
    if needs.workers == 1:
        with garbage_collector_off():
            import torch

            from trainable.student.memory import free_gpu_memory
            from trainable.student.train import train

        torch.set_num_threads(max(1, int(needs.cpus)))
        try:
            train(plan.config, read(), report, files.path / checkpoint)
        finally:
            free_gpu_memory()
    else:
        from trainable.data_parallel import train_together  # Ray Train takes a second to import

        train_together(plan.config, read, report, files, checkpoint, needs)


def trial_folder(files: RunFiles, name: str) -> Path:
    """Folder of a trial, with its files of earlier attempts. Raises InputError if this node does not see the run."""
    if not files.fetched(names.RUN_FILE).is_file():
        raise InputError(
            f"run folder {files.address} cannot be seen from node {ray.util.get_node_ip_address()}: "
            "put results/ on a file system that all nodes share."
        )
    own = (names.STATUS_FILE, names.LEDGER_FILE, names.CHECKPOINT_FILE)
    folder = files.fetched(f"{names.TRIALS_FOLDER}/{name}", only=own)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def control_losses(files: RunFiles, plan: TrialPlan) -> dict[int, float] | None:
    """Return {step: eval_loss} of the plan's control; None if the plan is a control itself."""
    if plan.role == names.CONTROL:
        return None
    ledger = f"{names.TRIALS_FOLDER}/{plan.control}/{names.LEDGER_FILE}"
    reports = read_reports(files.fetched(ledger))
    return {row[names.STEP]: row[names.EVAL_LOSS] for row in reports}


class _Reporter:
    """Adds the gain to each report, then passes it to ledger, TensorBoard, Prometheus and Tune, in this order."""

    def __init__(self, plan: TrialPlan, files: RunFiles, control: dict[int, float] | None):
        self._plan = plan
        self._files = files
        self._folder = files.path / names.TRIALS_FOLDER / plan.name
        self._control = control
        self._board: TensorBoardLog | None = None
        self._gauges = TrialGauges(files.path.parent.name, files.path.name, plan, Gauge)

    def __call__(self, report: "Report") -> None:
        row = {name: (report | {names.GAIN: self._gain(report)})[name] for name in names.REPORT_COLUMNS}
        with self._files.writing():  # publishes the checkpoint too, which was written before
            append_row(self._folder / names.LEDGER_FILE, row)
            if self._board is None:
                self._board = TensorBoardLog(self._folder, flatten(self._plan.config), first_step=row[names.STEP])
            self._board.write(row)
        self._gauges.show(row)
        tune.report(row)

    def close(self) -> None:
        """Close gauges and event file; also called when Tune stops the trial by an exception in `tune.report`."""
        self._gauges.close()
        if self._board is not None:
            self._board.close()

    def _gain(self, report: "Report") -> float:
        if self._control is None:
            return 0.0
        step = report[names.STEP]
        if step not in self._control:
            raise InputError(
                f"control {self._plan.control} has no evaluation at step {step}: its ledger is incomplete; resume "
                "the run to finish it."
            )
        return float(self._control[step] - report[names.EVAL_LOSS])
