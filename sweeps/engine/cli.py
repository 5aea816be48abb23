"""The command line that every study has: options in, exit status out; a user's mistake is one sentence."""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from rich.console import Console
from rich.markup import escape

from sweeps.engine.cluster.ray_start import Machine, RayStart, check_address
from sweeps.engine.export.choice import Export, check_export, chosen_trial
from sweeps.engine.folder import RunFolder, Spec, first_difference, lasting_path, lasting_place, run_place
from sweeps.engine.plan_lines import show_plan
from sweeps.engine.settings import SMOKE
from sweeps.engine.specs.comparison import Comparison
from sweeps.engine.specs.search import Sweep
from trainable import names
from trainable.config import Packing, Smoothing, TeacherRows, TrialConfig, flatten, from_text, override
from trainable.errors import InputError, require
from trainable.record.files import user_path
from trainable.record.store import ADVICE, StoreError, is_uri
from trainable.text.corpus import open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer import known_vocab_size

USAGE_ERROR = 2
NAMES = ("builtin", "tiny", "small-llama2")  # never taken for files
LOG_WIDTH = 120  # of tables where the output is not a terminal

atexit.register(gc.freeze)  # else Python looks through all of torch and Ray for garbage before it ends: 1.4 s


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every study understands; what is left out (None) takes the study's setting."""

    # --- data ---
    corpus: str | None = None
    """builtin (four novels, 1 MB), a path (parquet, jsonl, txt, save_to_disk folder), or a hub id"""
    column: str | None = None
    """text column of the corpus (default: text)"""
    train_rows: int | None = None
    """rows to train on, from the training split"""
    eval_rows: int | None = None
    """rows to validate on, from the validation split"""
    tokenizer: str | None = None
    """folder with tokenizer.json, hub id, or train:<vocabulary size>"""
    packing: Packing | None = None
    """packed: no padding; as_published: 200 rows a string, padded"""

    # --- model and run ---
    model: str | None = None
    """tiny, small-llama2, or a folder with config.json"""
    steps: int | None = None
    """optimizer steps of a trial"""
    smoothing: Smoothing | None = None
    """of the bigram teacher"""
    teacher_rows: TeacherRows | None = None
    """rows the teacher is counted on; all is a leak probe"""
    set: tuple[str, ...] = ()
    """any other setting of trainable/config.py, e.g. --set optimizer.lr=1e-3 loop.accumulation=2"""

    # --- where ---
    results: Annotated[str, tyro.conf.arg(metavar="DIR|URI")] = "results"
    """runs go to RESULTS/STUDY/TIME; on a cluster a folder that all nodes share, or such as s3://bucket/results"""
    run: str | None = None
    """name of the run, instead of the time: the very same command starts it or goes on with it (for retries)"""
    resume: Annotated[str | None, tyro.conf.arg(metavar="DIR|URI")] = None
    """a run folder: go on with it; its spec is used, not the options above"""
    export: Annotated[tuple[str, str] | None, tyro.conf.arg(metavar="best|TRIAL DIR")] = None
    """write a trained model to a new folder that transformers loads: of the trial named, or best for the finished trial
    with the lowest final validation loss; with --resume RUN of a complete run, nothing is trained"""
    address: str | None = None
    """of a Ray cluster to join (default: RAY_ADDRESS, or an own Ray)"""
    workers_per_trial: Annotated[int, tyro.conf.arg(name="workers-per-trial")] = 1
    """processes that train one model together, data-parallel; each takes a share of every batch"""
    cpus_per_trial: Annotated[float, tyro.conf.arg(name="cpus-per-trial")] = 1
    """CPUs, and threads, of a trial (of each of its workers)"""
    gpus_per_trial: float | None = None
    """GPUs of a trial (of each of its workers), may be a fraction (default: 1 where there are any)"""
    cpus: int | None = None
    """CPUs that an own Ray may use (default: all)"""
    dashboard_host: str = "127.0.0.1"
    """address the dashboard of an own Ray listens on"""

    # --- instead of a run ---
    dry_run: bool = False
    """check everything that can be checked, show the plan, run nothing"""
    smoke_test: bool = False
    """the whole path in the smallest form: a few trials of a few steps"""


AnyOptions = TypeVar("AnyOptions", bound=Options)


def main(
    study: Callable[[AnyOptions], Spec],
    options_type: type[AnyOptions],
    description: str | None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse, check, run. Returns the exit status: 0; 1 where trials failed; 2 for bad input; 130 if interrupted."""
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, soft_wrap=True)
    try:
        arguments = each_option_once(sys.argv[1:] if arguments is None else arguments)
        options = tyro.cli(options_type, description=description, args=arguments, config=(tyro.conf.OmitArgPrefixes,))
        return _run(study, options, console)
    except (InputError, StoreError) as error:
        advice = f": {ADVICE}." if isinstance(error, StoreError) else ""
        said = escape(f"{error}{advice}")
        Console(stderr=True).print(f"[red]error:[/red] {said}", soft_wrap=True, highlight=False)
        return USAGE_ERROR
    except KeyboardInterrupt:  # while trials run, the driver handles it
        console.print("Interrupted outside of the trials; the same command goes on with what is prepared.")
        return 128 + signal.SIGINT  # as shells have it


def each_option_once(arguments: Sequence[str]) -> list[str]:
    """The arguments with the values of several --set behind one. Raises InputError for another option given twice.

    The parser would take the last and drop the others in silence.
    """
    given: dict[str, list[str]] = {}
    option = ""  # what stands before the first option
    for argument in arguments:
        if argument.startswith("--") and argument != "--":
            option, equals, value = argument.partition("=")
            option = option.replace("_", "-")
            if option in given and option != "--set":
                raise InputError(f"{option} is given twice: give it once.")
            given.setdefault(option, []).extend([value] if equals else [])
        else:
            given.setdefault(option, []).append(argument)
    return [word for option, values in given.items() for word in ([option] if option else []) + values]


def base_config(options: Options, setting: TrialConfig) -> TrialConfig:
    """The control's config: the setting with the options applied."""
    named = {key: value for key, value in named_settings(options).items() if value is not None}
    free = free_settings(options)
    if both := named.keys() & free.keys():
        raise InputError(f"{sorted(both)[0]} is given by its own option and by --set: leave one of them out.")
    setting = override(setting, SMOKE) if options.smoke_test else setting
    given = {key: _absolute(value) if key in _PLACES else value for key, value in (named | free).items()}
    return override(setting, given)


_PLACES = ("corpus.source", "tokens.tokenizer", "model.name")


def named_settings(options: Options) -> dict[str, Any]:
    """{dotted key: value} of the settings that have an option of their own; None where it was not given."""
    return {
        "corpus.source": options.corpus,
        "corpus.column": options.column,
        "corpus.train_rows": options.train_rows,
        "corpus.eval_rows": options.eval_rows,
        "tokens.tokenizer": options.tokenizer,
        "tokens.packing": options.packing,
        "model.name": options.model,
        "loop.steps": options.steps,
        "teacher.smoothing": options.smoothing,
        "teacher.rows": options.teacher_rows,
    }


def free_settings(options: Options) -> dict[str, Any]:
    """{dotted key: value} of --set."""
    given: dict[str, Any] = {}
    for text in options.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text!r}: write key=value, such as optimizer.lr=1e-3.")
        if key in given:
            raise InputError(f"--set gives {key} twice: give it once.")
        given[key] = from_text(key, value)
    return given


def _absolute(name: Any) -> Any:
    """A path that exists, made absolute, for workers run in other folders; any other name as it is."""
    if not isinstance(name, str) or name in NAMES or not name:
        return name
    path = user_path(name)
    return str(Path.cwd() / path) if path.exists() else name  # a link keeps its name, whose ending tells the kind


def _run(study: Callable[[AnyOptions], Spec], options: AnyOptions, console: Console) -> int:
    spec, folder = spec_and_folder(study, options)
    check_resources(options)
    check_shares(spec, options.workers_per_trial)
    check_device(spec, options)
    export = export_of(options)
    if export is not None:
        check_export(export, spec, folder)
    show_plan(spec, console)
    if options.dry_run:
        return 0
    if export is not None and folder is not None and folder.complete:
        with folder.locked(), folder.files.naming():
            return write_export(export, folder, console)
    machine = machine_of(options)
    check_address(machine.cluster)
    if folder is None:
        folder = RunFolder.create(lasting_place("--results", options.results), spec.study)
    else:
        folder.make(may_exist=True)
    folder.files.check_writable()
    console.print(f"Run folder: {folder.address}")
    with folder.locked(), folder.files.naming():
        with RayStart(machine) as ray_start:  # Ray starts while these import it and torch
            from sweeps.engine.provenance import provenance
            from sweeps.engine.run import run_sweep

            status = run_sweep(folder, spec, machine, ray_start, console, provenance())
        return write_export(export, folder, console) if export is not None and folder.complete else status


def spec_and_folder(study: Callable[[AnyOptions], Spec], options: AnyOptions) -> tuple[Spec, RunFolder | None]:
    """What is to be done, and where; no folder yet for a new run that the time will name."""
    if options.resume is not None:
        require(options.run is None, "--resume and --run both say which run to go on with: leave one of them out.")
        folder = RunFolder.open(run_place("--resume", options.resume))
        return folder.spec(), folder
    spec = study(options)
    check_effects(spec, free_settings(options))
    check_inputs(spec)
    results = lasting_place("--results", options.results)
    if options.run is None:
        return spec, None
    folder = RunFolder.named(results, spec.study, options.run)
    if folder.begun:
        check_same(folder, spec)
    return spec, folder


def check_same(folder: RunFolder, spec: Spec) -> None:
    """Raise InputError where a run that is begun was to do something else."""
    difference = first_difference(folder.spec().to_dict(), spec.to_dict())
    if difference is not None:
        key, was, now = difference
        raise InputError(
            f"run {folder.address} was begun with other settings ({key} was {shortened(was)}, now {shortened(now)}): "
            "give the same options again, or another --run."
        )


def shortened(value: Any) -> str:
    """For a sentence."""
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def export_of(options: Options) -> Export | None:
    """Which model is to be written where."""
    if options.export is None:
        return None
    trial, folder = options.export
    require(not is_uri(folder), f"--export is {folder}: give a path, for transformers loads models from folders.")
    return Export(trial, lasting_path("--export", user_path(folder)).absolute())


def write_export(export: Export, folder: RunFolder, console: Console) -> int:
    """Write the model of a run that is complete; the exit status is the run's."""
    from sweeps.engine.export.model_folder import write_model_folder

    trial = chosen_trial(export, folder)
    write_model_folder(folder, trial, export.folder)
    console.print(f"Exported {trial.plan.name} (validation loss {trial.loss:.4f}) to {export.folder}", highlight=False)
    return 1 if names.FAILED in [state for _, state, _ in folder.trials()] else 0


def machine_of(options: Options) -> Machine:
    """Where and with what the trials run."""
    return Machine(
        address=options.address,
        workers_per_trial=options.workers_per_trial,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        cpus=options.cpus,
        dashboard_host=options.dashboard_host,
    )


def check_effects(spec: Spec, given: Mapping[str, Any]) -> None:
    """Refuse settings of --set that the study decides itself, for they would change nothing."""
    for key in given:
        if isinstance(spec, Sweep):
            lost = key in spec.space or key in ("model.layers", "seed")
        else:
            plans = [plan for plan in spec.plans if plan.role != names.CONTROL or not key.startswith("teacher.")]
            values = {flatten(plan.config)[key] for plan in plans}
            several = len(values) > 1 and key in ("model.layers", "corpus.fold", "seed")
            lost = several or flatten(spec.base)[key] not in values
        if lost:
            raise InputError(
                f"--set {key} would change nothing, for study {spec.study} decides it: leave it out, or give the "
                "study's own option (see --help)."
            )


def check_inputs(spec: Spec) -> None:
    """Open what the settings name, so that a wrong path, a damaged file or too few rows cost nothing."""
    base = spec.base
    vocab_size = known_vocab_size(base.tokens.tokenizer)
    if base.model.name not in NAMES:  # a folder: reading it imports torch
        from trainable.student.model import llama_config

        llama_config(base.model, vocab_size, base.tokens.context)
    rows = open_corpus(base.corpus).rows
    for corpus in {plan.config.corpus for plan in spec.plans} if isinstance(spec, Comparison) else {base.corpus}:
        split_rows(rows, corpus)


def check_device(spec: Spec, options: Options) -> None:
    """Refuse loop.device cuda where no worker will find one; a cluster may have what this machine lacks."""
    if spec.base.loop.device != "cuda" or options.address or os.environ.get("RAY_ADDRESS"):
        return
    import torch

    require(
        torch.cuda.is_available(),
        "loop.device is cuda but PyTorch finds no CUDA device here: use auto or cpu.",
    )


def check_resources(options: Options) -> None:
    """Refuse what no machine has, and what Ray does not share out."""
    gpus = 0.0 if options.gpus_per_trial is None else options.gpus_per_trial
    workers = options.workers_per_trial
    require(workers >= 1, f"--workers-per-trial is {workers}: give at least 1.")
    require(options.cpus_per_trial > 0, f"--cpus-per-trial is {options.cpus_per_trial:g}: give a positive number.")
    require(gpus >= 0, f"--gpus-per-trial is {gpus:g}: give 0, a fraction, or a whole number.")
    for option, wanted in (("--cpus-per-trial", options.cpus_per_trial), ("--gpus-per-trial", gpus)):
        shared = wanted <= 1 or float(wanted).is_integer()
        require(shared, f"{option} is {wanted:g}: give a whole number or a fraction of one, as Ray shares them out.")
    cpus = options.cpus
    if cpus is None:
        return
    require(cpus > 0, f"--cpus is {cpus}: give at least 1.")
    asked = f"{options.cpus_per_trial:g}" + f" for each of {workers} workers" * (workers > 1)
    require(
        options.cpus_per_trial * workers <= cpus,
        f"--cpus-per-trial is {asked} but --cpus {cpus}: no trial would ever start; raise --cpus.",
    )


def check_shares(spec: Spec, workers: int) -> None:
    """Refuse more workers than a micro-batch has blocks to share out."""
    blocks = spec.base.loop.batch_blocks
    require(
        workers <= blocks,
        f"--workers-per-trial is {workers} but a micro-batch has loop.batch_blocks = {blocks}: raise the one "
        "or lower the other.",
    )
