"""The driver of a run: prepare the data, start Ray, let Tune run the trials, write tables, figures and summary.

A new run and a resumed run take the same path. The ledgers in the run folder say what has been done; every attempt is a
new Tuner whose searcher reads them first. So nothing depends on Tune's own state files, and a resumed run never repeats
a finished trial.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune.schedulers import TrialScheduler
from ray.tune.stopper import CombinedStopper
from rich.console import Console

from analysis import summary
from sweeps.engine import termination
from sweeps.engine.cluster.nodes import check_nodes
from sweeps.engine.cluster.ray_start import Machine, RayStart
from sweeps.engine.failures import WorkerDeaths, drop_unusable_checkpoints
from sweeps.engine.folder import RunFolder
from sweeps.engine.interrupt import EndAtOnce
from sweeps.engine.options import NAMES
from sweeps.engine.order.orders import order_of
from sweeps.engine.order.trial_order import TrialOrder
from sweeps.engine.preflight import store_bytes
from sweeps.engine.progress import LiveProgress
from sweeps.engine.resumption import require_unchanged
from sweeps.engine.room import RoomWatch
from sweeps.engine.specs.spec import Spec
from trainable import names
from trainable.errors import InputError, first_line
from trainable.plan import Needs
from trainable.prepare import Prepared, prepare_runs
from trainable.record.files import free_bytes, is_disk_full, mib
from trainable.record.lines import paragraph
from trainable.record.run_record import RunRecord
from trainable.record.store import StoreError
from trainable.shared_data import checksums
from trainable.student.config_keys import model_fingerprint
from trainable.student.presets import PRESETS
from trainable.trial import make_trainable

TUNES_LOG = "ray.tune.execution.tune_controller"
ATTEMPTS = 3  # Tuners for one run, if Tune breaks off by itself
RESTARTS = 2  # restarts of a trial whose worker dies


def run_sweep(
    folder: RunFolder,
    spec: Spec,
    machine: Machine,
    ray_start: RayStart,
    console: Console,
    facts: dict[str, Any],
    resume: str,
    places: Mapping[str, str],
) -> int:
    """Run what is left of a sweep or a comparison, and return the exit status (sweeps/README.md has all of them).

    The caller holds the run's lock. `facts` are added to run.json: the command, versions, hardware. `resume` is
    the command that goes on with the run, for messages. `places` is {path in the spec: path now} of files that have
    moved since the run began.
    """
    setup()
    started = time.time()
    say = partial(console.print, highlight=False)
    termination.raise_if_interrupted()
    prepared = prepare(spec, ray_start, lambda text: say(paragraph(text, console.width, "  ")), places)
    check_models(spec, prepared)
    try:
        drop_unusable_checkpoints(folder, say)
        console.print(f"Ray dashboard: {ray_start.dashboard(lambda: store_bytes(prepared.nbytes, say))}")
        check_nodes(folder.files)
        termination.raise_if_interrupted()
        write_run_file(folder, spec, prepared.facts | facts, places)
        # From here on there is something to resume.
        with EndAtOnce(resume), termination.farewell(f"nothing is lost. Go on with: {resume}"):
            complete = run_trials(folder, spec, prepared, machine, console, resume)
            ray.shutdown()  # not in a thread beside the report: a Ray reference freed there ends the process
            return conclude(folder, complete, started, console, resume)
    except StoreError as error:
        raise InputError(f"{error}: once it answers, go on with: {resume}") from error
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise disk_full(folder, error, resume) from error


def setup() -> None:
    """Silence libraries while trials run: what they would print is reported elsewhere in fewer words."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger(TUNES_LOG).setLevel(logging.CRITICAL)  # a traceback for each dead worker, also in error.txt


def prepare(
    spec: Spec, ray_start: RayStart, say: Callable[[str], None], places: Mapping[str, str] | None = None
) -> Prepared:
    """Prepare the data of all trials. Raises InputError if a cluster cannot be joined, or fails meanwhile."""
    workers = ray_start.workers()
    try:
        return prepare_runs(spec.configs(), say=say, workers=workers, places=places)
    except RayError as error:
        raise InputError(
            f"the cluster failed while it prepared the data ({first_line(error)}): look at its nodes, and run the "
            "same command again; what is prepared is kept."
        ) from error


def check_models(spec: Spec, prepared: Prepared) -> None:
    """Raise InputError if a given model does not fit the tokenizer, or cannot be trained; presets can, at any size."""
    given = [config for config in spec.configs() if config.model.name not in PRESETS]
    fits = {(c.model, prepared.vocab_size(c), c.tokens.context, c.loop.precision) for c in given}
    for model, vocab_size, context, precision in fits:
        from trainable.student.tiny_batch import check_trains  # imports transformers

        check_trains(model, vocab_size, context, precision)


def disk_full(folder: RunFolder, error: OSError, resume: str) -> InputError:
    """Error for a disk to which the driver itself cannot write."""
    where, free = error.filename or folder.path, mib(free_bytes(folder.path))
    return InputError(
        f"cannot write {where} ({error.strerror}; {free} MiB are free): free some space, then go on with: {resume}"
    )


def run_trials(
    folder: RunFolder, spec: Spec, prepared: Prepared, machine: Machine, console: Console, resume: str
) -> bool:
    """Let Tune run the trials that are left, and return whether all have ended.

    If Tune itself breaks off, another Tuner goes on from the ledgers, up to ATTEMPTS in all.
    """
    needs = needs_of(machine)
    trainable = make_trainable(folder.address, prepared.blocks, prepared.tables, needs)
    sums = checksums(prepared.blocks, prepared.tables)
    watch = RoomWatch(folder, spec, prepared.vocab_size, slots_of(needs))
    watch.check_before()
    for attempt in range(1, ATTEMPTS + 1):
        order, scheduler = order_of(spec, folder, sums, partial(most_in_flight, needs))
        deaths = WorkerDeaths(order, folder.files, console, RESTARTS)
        try:
            progress = LiveProgress(
                console,
                trials=spec.trials,
                ended=order.ended,
                steps=sum(load.trials * load.steps for load in spec.workloads()),
                reached=folder.reached(),
                cannot_work=deaths.stop_all,
            )
            callbacks, stopper = [deaths, progress], CombinedStopper(watch, deaths)
            tuner = make_tuner(
                folder, trainable, order, scheduler, callbacks, stopper, reuse_actors=needs.actors_reusable
            )
            with EndAtOnce(resume), progress:
                tuner.fit()
            watch.check_after(resume)
            deaths.check_after(resume)
            if not order.exhausted:
                console.print("Interrupted: ending the trials, writing tables; Ctrl-C again ends at once.")
            return order.exhausted
        except (tune.TuneError, RayError) as error:
            watch.check_after(resume)
            deaths.check_after(resume)
            if attempt == ATTEMPTS:
                raise
            console.print(f"Tune broke off ({first_line(error)}); going on from the ledgers.")
    raise AssertionError("unreachable")


def needs_of(machine: Machine) -> Needs:
    """Resources of each trial; without --gpus-per-trial, one GPU for each worker if the cluster has any."""
    gpus = machine.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if ray.cluster_resources().get("GPU", 0) >= 1 else 0.0
    return Needs(cpus=machine.cpus_per_trial, gpus=gpus, workers=machine.workers_per_trial)


def slots_of(needs: Needs) -> int:
    """Number of trials that the cluster can run at once with its present resources."""
    return needs.slots(ray.cluster_resources())


def most_in_flight(needs: Needs) -> int:
    """Largest number of trials that Tune is given at once: one for each slot, and one that waits for a slot.

    None waits where a trial has several workers: their resources are reserved by Ray Train, so Tune would start it.
    """
    return slots_of(needs) + (1 if needs.workers == 1 else 0)


def make_tuner(
    folder: RunFolder,
    trainable: Any,
    order: TrialOrder,
    scheduler: TrialScheduler,
    callbacks: list[tune.Callback],
    stopper: tune.Stopper,
    *,
    reuse_actors: bool,
) -> tune.Tuner:
    """Return a Tuner for the trials that the ledgers do not have yet."""
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=order,
            scheduler=scheduler,
            num_samples=-1,  # the searcher says when it is done
            reuse_actors=reuse_actors,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=folder.new_attempt(),
            storage_path=str(folder.path / names.TUNE_FOLDER),
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=callbacks,
            stop=stopper,
            verbose=0,
        ),
    )


def write_run_file(
    folder: RunFolder, spec: Spec, facts: dict[str, Any], places: Mapping[str, str] | None = None
) -> None:
    """Write run.json; a resumed run keeps its date and first facts. Raises InputError if its data have changed.

    places: {path in the spec: path now} of files that have moved since the run began.
    """
    head = {"study": spec.study, "run": folder.path.name, "created": now(), "spec": spec.to_dict()}
    name = spec.base.model.name
    model = None if name in NAMES else model_fingerprint(name)
    commit = facts["git_commit"] or ""  # "" outside of git
    registered = commit if spec.registered and commit.isalnum() else None  # a commit with changes registers nothing
    of_begin = {"model": model, "registered": registered}
    record = RunRecord.from_dict({**facts, **head, **of_begin}).with_own_names(Path.cwd())
    if folder.begun:
        known = folder.record()
        for part, was, is_now in data_of(known, record):
            require_unchanged(folder, part, was, is_now)
        record = replace(known, complete=False, places=places or None)
    folder.write_record(record)


def now() -> str:
    """The time for run.json: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def data_of(known: RunRecord, record: RunRecord) -> Iterator[tuple[str, str, str]]:
    """Yield (part of the data, checksum in the record, checksum now)."""
    for part in ("corpus", "tokenizer"):
        yield part, getattr(known, part).fingerprint, getattr(record, part).fingerprint
    if known.model is not None:  # older records lack it
        yield "model", known.model, record.model or "a preset"
    for key, table in record.tables.items():
        yield "teacher", known.tables[key].checksum if key in known.tables else "not there", table.checksum


def conclude(folder: RunFolder, complete: bool, started: float, console: Console, resume: str) -> int:
    """Write tables, figures and summary, print the summary, and choose the exit status."""
    record = folder.record()
    spent = (record.wall_seconds or 0.0) + time.time() - started
    folder.write_record(replace(record, complete=complete, ended=now(), wall_seconds=spent))
    folder.files.fetch_records()
    with folder.files.writing():
        summary.conclude(folder.path, console, folder.files.called)
    states = [state for _, state, _ in folder.trials()]
    if not complete:
        console.print(f"Interrupted; nothing is lost. Go on with: {resume}")
        return termination.exit_status()
    return 1 if names.FAILED in states else 0


def _name(trial: Any) -> str:
    return str(trial.config["name"])
