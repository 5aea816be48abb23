"""The Ray Tune trainable: one trial.

A trial belongs to a run folder and writes there, in `trials/<name>/`, what must not be lost: its ledger, its
checkpoint, its status. Tune decides when trials run and stop; it is not trusted with data.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.trainable import wrap_function
from ray.util.metrics import Gauge

from trainable import names
from trainable.config import TrialConfig, flatten
from trainable.errors import InputError
from trainable.gauges import TrialGauges
from trainable.plan import Needs, TrialPlan
from trainable.prepare import BlocksByKey, TablesByKey
from trainable.record.files import is_disk_full
from trainable.record.ledger import append_row, read_reports
from trainable.record.run_files import RunFiles, run_files
from trainable.record.tensorboard import TensorBoardLog
from trainable.record.trial_files import checkpoint_name, write_status
from trainable.shared_data import data_of
from trainable.student.late_loss import TrainingDiverged
from trainable.student.train import Report, RunData, train


def make_trainable(run: str, blocks: BlocksByKey, tables: TablesByKey, needs: Needs) -> Any:
    """The trainable for a Tuner. Puts blocks (training, validation; by data_key) and tables (by table_key), once.

    run: path or URI of the run folder, which all nodes must see.
    """
    shared = ray.put((blocks, tables))
    function = tune.with_parameters(run_trial, run=run, shared=[shared], needs=needs)

    class GuidedTrial(wrap_function(function)):  # type: ignore[misc]
        __qualname__ = "GuidedTrial"  # what the dashboard shows as the class

        def __repr__(self) -> str:  # what the dashboard calls the actor; it asks once, and on CPUs more trials follow
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
    """Wait for a trial's workers before its process ends: what they hold of the cluster might stay held."""
    if needs.workers > 1:
        from trainable.data_parallel import wait_for_workers

        wait_for_workers()


def name_process(trial: str) -> None:
    """Show which trial a worker runs in the dashboard's Cluster page, `ps` and `top`.

    Ray gives its workers titles through a function that it does not promise to keep.
    """
    set_title = getattr(ray._raylet, "setproctitle", None)
    if set_title is not None:
        set_title(f"ray::{trial}")


def run_trial(tune_config: dict[str, Any], *, run: str, shared: list[Any], needs: Needs) -> None:
    """Train one trial to its end, reporting to its ledger first and then to Tune."""
    plan = TrialPlan.from_dict(tune_config["plan"])
    print(f"trial {plan.name}", flush=True)  # in the actor's log: a reused actor keeps the name of its first trial
    files = run_files(run)
    folder = trial_folder(files, plan.name)
    try:
        with files.writing():
            write_status(folder, names.RUNNING)
        try:
            with files.writing(), closing(_Reporter(plan, files, control_losses(files, plan))) as reporter:
                read = partial(read_shared, shared, plan.config, tune_config["checksums"])
                _train(plan, read, reporter, files, needs)
        except (TrainingDiverged, InputError) as error:  # would come again: not worth Tune's retries
            with files.writing():
                write_status(folder, names.FAILED, files.shown(str(error)))
    except OSError as error:
        if not is_disk_full(error):
            raise
        # No failure of the trial: the driver sees the full disk too, ends the sweep, and resumption goes on from here.
        print(f"{folder} takes no more ({error})", flush=True)


def read_shared(shared: list[Any], config: TrialConfig, checksums: dict[str, str]) -> RunData:
    """Data of a run of `config`, for this process or a worker; `shared` holds a reference to blocks and tables."""
    return data_of(config, checksums, *ray.get(shared[0]))


def _train(
    plan: TrialPlan,
    read: Callable[[], RunData],
    report: Callable[[Report], None],
    files: RunFiles,
    needs: Needs,
) -> None:
    """Train in this process or, with several workers, under Ray Train."""
    checkpoint = checkpoint_name(plan.name)
    if needs.workers == 1:
        torch.set_num_threads(max(1, int(needs.cpus)))
        train(plan.config, read(), report, files.path / checkpoint)
    else:
        from trainable.data_parallel import train_together  # Ray Train takes a second to import

        train_together(plan.config, read, report, files, checkpoint, needs)


def trial_folder(files: RunFiles, name: str) -> Path:
    """Folder of a trial, with what it wrote before. Raises InputError where this node does not see the run."""
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
    """{step: eval_loss} of the plan's control; None for a control."""
    if plan.role == names.CONTROL:
        return None
    ledger = f"{names.TRIALS_FOLDER}/{plan.control}/{names.LEDGER_FILE}"
    reports = read_reports(files.fetched(ledger))
    return {row[names.STEP]: row[names.EVAL_LOSS] for row in reports}


class _Reporter:
    """Add the gain to each report, then pass it to ledger, TensorBoard, Prometheus and Tune, in this order."""

    def __init__(self, plan: TrialPlan, files: RunFiles, control: dict[int, float] | None):
        self._plan = plan
        self._files = files
        self._folder = files.path / names.TRIALS_FOLDER / plan.name
        self._control = control
        self._board: TensorBoardLog | None = None
        self._gauges = TrialGauges(files.path.parent.name, files.path.name, plan, Gauge)

    def __call__(self, report: Report) -> None:
        row = {name: (report | {names.GAIN: self._gain(report)})[name] for name in names.REPORT_COLUMNS}
        with self._files.writing():  # with the checkpoint that was written before
            append_row(self._folder / names.LEDGER_FILE, row)
            if self._board is None:
                self._board = TensorBoardLog(self._folder, flatten(self._plan.config), first_step=row[names.STEP])
            self._board.write(row)
        self._gauges.show(row)
        tune.report(row)

    def close(self) -> None:
        """Close gauges and event file; Tune's end of a trial, inside `tune.report`, comes here too."""
        self._gauges.close()
        if self._board is not None:
            self._board.close()

    def _gain(self, report: Report) -> float:
        if self._control is None:
            return 0.0
        step = report[names.STEP]
        if step not in self._control:
            raise InputError(
                f"control {self._plan.control} has no evaluation at step {step}: its ledger is incomplete; resume "
                "the run to finish it."
            )
        return float(self._control[step] - report[names.EVAL_LOSS])
