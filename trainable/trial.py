"""The Ray Tune trainable: one trial.

A trial belongs to a run folder and writes there, in `trials/<name>/`, what must not be lost: its settings, its ledger,
its checkpoint, its status. Tune decides when trials run and stop; it is not trusted with data.
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
from trainable.config import TrialConfig
from trainable.disk import is_disk_full
from trainable.errors import InputError
from trainable.gauges import TrialGauges
from trainable.ledger import append_row, read_reports
from trainable.needs import Needs
from trainable.plan import TrialPlan
from trainable.prepare import BlocksByKey, TablesByKey
from trainable.shared_data import data_of
from trainable.tensorboard import TensorBoardLog
from trainable.train import Report, RunData, TrainingDiverged, train
from trainable.trial_files import write_status


def make_trainable(run: Path, blocks: BlocksByKey, tables: TablesByKey, needs: Needs) -> Any:
    """The trainable for a Tuner. Puts blocks (training, validation; by data_key) and tables (by table_key), once."""
    shared = ray.put((blocks, tables))
    function = tune.with_parameters(run_trial, run=str(run), shared=[shared], needs=needs)

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
    """Let a trial's workers end before its process does: what they hold of the cluster might stay held."""
    if needs.workers > 1:
        from trainable.data_parallel import wait_for_workers

        wait_for_workers()


def name_process(trial: str) -> None:
    """Let the dashboard's Cluster page, `ps` and `top` say which trial a worker is at.

    Ray gives its workers titles through a function that it does not promise to keep.
    """
    set_title = getattr(ray._raylet, "setproctitle", None)
    if set_title is not None:
        set_title(f"ray::{trial}")


def run_trial(tune_config: dict[str, Any], *, run: str, shared: list[Any], needs: Needs) -> None:
    """Train one trial to its end, reporting to its ledger first and then to Tune."""
    plan = TrialPlan.from_dict(tune_config["plan"])
    print(f"trial {plan.name}", flush=True)  # in the actor's log: a reused actor keeps the name of its first trial
    folder = trial_folder(run, plan.name)
    try:
        write_status(folder, names.RUNNING)
        try:
            with closing(_Reporter(plan, folder, control_losses(Path(run), plan))) as reporter:
                read = partial(read_shared, shared, plan.config, tune_config["checksums"])
                _train(plan.config, read, reporter, folder, needs)
        except (TrainingDiverged, InputError) as error:  # would come again: not worth Tune's retries
            write_status(folder, names.FAILED, str(error))
    except OSError as error:
        if not is_disk_full(error):
            raise
        # No failure of the trial: the driver sees the full disk too, ends the sweep, and resumption goes on from here.
        print(f"{folder} takes no more ({error})", flush=True)


def read_shared(shared: list[Any], config: TrialConfig, checksums: dict[str, str]) -> RunData:
    """What a run of `config` reads, in this process or a worker's; `shared` holds a reference to blocks and tables."""
    return data_of(config, checksums, *ray.get(shared[0]))


def _train(
    config: TrialConfig,
    read: Callable[[], RunData],
    report: Callable[[Report], None],
    folder: Path,
    needs: Needs,
) -> None:
    """Here, or in processes of their own."""
    checkpoint = folder / names.CHECKPOINT_FILE
    if needs.workers == 1:
        torch.set_num_threads(max(1, int(needs.cpus)))
        train(config, read(), report, checkpoint)
    else:
        from trainable.data_parallel import train_together  # Ray Train takes a second to import

        train_together(config, read, report, checkpoint, folder.parents[1] / "tune", needs)


def trial_folder(run: str | Path, name: str) -> Path:
    """Where a trial writes. Raises InputError where the run folder cannot be seen."""
    root = Path(run)
    if not (root / names.RUN_FILE).is_file():
        raise InputError(
            f"run folder {run} cannot be seen from node {ray.util.get_node_ip_address()}: "
            "put results/ on a file system that all nodes share."
        )
    folder = root / names.TRIALS_FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def control_losses(run: Path, plan: TrialPlan) -> dict[int, float] | None:
    """{step: eval_loss} of the plan's control; None for a control."""
    if plan.role == names.CONTROL:
        return None
    reports = read_reports(run / names.TRIALS_FOLDER / plan.control / names.LEDGER_FILE)
    return {row[names.STEP]: row[names.EVAL_LOSS] for row in reports}


class _Reporter:
    """Adds the gain, then tells ledger, TensorBoard, Prometheus and Tune, in this order."""

    def __init__(self, plan: TrialPlan, folder: Path, control: dict[int, float] | None):
        self._plan = plan
        self._folder = folder
        self._control = control
        self._board: TensorBoardLog | None = None
        run = folder.parents[1]
        self._gauges = TrialGauges(run.parent.name, run.name, plan, Gauge)

    def __call__(self, report: Report) -> None:
        row = {name: (report | {names.GAIN: self._gain(report)})[name] for name in names.REPORT_COLUMNS}
        append_row(self._folder / names.LEDGER_FILE, row)
        if self._board is None:
            self._board = TensorBoardLog(self._folder, self._plan.config, first_step=row[names.STEP])
        self._board.write(row)
        self._gauges.show(row)
        tune.report(row)

    def close(self) -> None:
        """Also runs when Tune ends the trial inside `tune.report`."""
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
