"""The command line that every study has: options in, exit status out; a user's mistake is one sentence."""

import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from rich.console import Console
from rich.markup import escape

from sweeps.engine.comparison import Comparison
from sweeps.engine.folder import RunFolder, Spec, check_writable
from sweeps.engine.plan_lines import show_plan
from sweeps.engine.settings import SMOKE
from trainable.config import Packing, Smoothing, TeacherRows, TrialConfig, override, require
from trainable.corpus import open_corpus
from trainable.errors import InputError
from trainable.split import split_rows
from trainable.tokenizer import known_vocab_size

USAGE_ERROR = 2
NAMES = ("builtin", "tiny", "small-llama2")  # never taken for files
LOG_WIDTH = 120  # of tables where the output is not a terminal


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every study understands; what is left out (None) takes the study's setting."""

    # --- data ---
    corpus: str | None = None
    """builtin (docstrings: a demonstration), a path (parquet, jsonl, txt, save_to_disk folder), or a hub id"""
    column: str = "text"
    """text column of the corpus"""
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
    """any other setting of a trial, e.g. --set optimizer.lr=1e-3 loop.accumulation=2"""

    # --- where ---
    results: Path = Path("results")
    """runs go to RESULTS/STUDY/TIME"""
    resume: Path | None = None
    """a run folder: go on with it; its spec is used, not the options above"""
    address: str | None = None
    """of a Ray cluster to join (default: RAY_ADDRESS, or an own Ray)"""
    cpus_per_trial: Annotated[float, tyro.conf.arg(name="cpus-per-trial")] = 1
    """CPUs, and threads, of a trial"""
    gpus_per_trial: float | None = None
    """GPUs of a trial, may be a fraction (default: 1 where there are any)"""
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
    options = tyro.cli(options_type, description=description, args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, soft_wrap=True)
    try:
        return _run(study, options, console)
    except InputError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True, highlight=False)
        return USAGE_ERROR
    except KeyboardInterrupt:  # while trials run, the driver handles it
        console.print("Interrupted outside of the trials; the same command goes on with what is prepared.")
        return 128 + signal.SIGINT  # as shells have it


def base_config(options: Options, setting: TrialConfig) -> TrialConfig:
    """The control's config: the setting with the options applied."""
    named = {
        "corpus.source": options.corpus and _absolute(options.corpus),
        "corpus.train_rows": options.train_rows,
        "corpus.eval_rows": options.eval_rows,
        "tokens.tokenizer": options.tokenizer and _absolute(options.tokenizer),
        "tokens.packing": options.packing,
        "model.name": options.model and _absolute(options.model),
        "loop.steps": options.steps,
        "teacher.smoothing": options.smoothing,
        "teacher.rows": options.teacher_rows,
    }
    given = {key: value for key, value in named.items() if value is not None}
    setting = override(setting, SMOKE) if options.smoke_test else setting
    return override(setting, {"corpus.column": options.column, **given, **dict(map(_assignment, options.set))})


def _absolute(name: str) -> str:
    """A path that exists, made absolute, for workers run in other folders; any other name as it is."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() and name not in NAMES else name


def _assignment(text: str) -> tuple[str, Any]:
    """("optimizer.lr", 0.001) of "optimizer.lr=1e-3"."""
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text!r}: write key=value, such as optimizer.lr=1e-3.")
    for read in (int, float):
        try:
            return key, read(value)
        except ValueError:
            continue
    return key, {"none": None, "true": True, "false": False}.get(value, value)


def _run(study: Callable[[AnyOptions], Spec], options: AnyOptions, console: Console) -> int:
    if options.resume is not None:
        folder = RunFolder.open(options.resume)
        spec = folder.spec()
    else:
        spec = study(options)
        check_inputs(spec)
    check_resources(options)
    show_plan(spec, console)
    if options.dry_run:
        return 0
    from sweeps.engine.facts import provenance  # these import Ray and torch: after all cheap checks
    from sweeps.engine.run import Machine, run_sweep

    machine = Machine(
        address=options.address,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        cpus=options.cpus,
        dashboard_host=options.dashboard_host,
    )
    if options.resume is None:
        folder = RunFolder.create(options.results, spec.study)
    check_writable(folder.path)
    console.print(f"Run folder: {folder.path}")
    try:
        return run_sweep(folder, spec, machine, console, provenance())
    finally:
        folder.drop_unused()


def check_inputs(spec: Spec) -> None:
    """Open what the settings name, so that a wrong path, a damaged file or too few rows cost nothing."""
    base = spec.base
    vocab_size = known_vocab_size(base.tokens.tokenizer)
    if base.model.name not in NAMES:  # a folder: reading it imports torch
        from trainable.model import llama_config

        llama_config(base.model, vocab_size, base.tokens.context)
    rows = open_corpus(base.corpus).rows
    for corpus in {plan.config.corpus for plan in spec.plans} if isinstance(spec, Comparison) else {base.corpus}:
        split_rows(rows, corpus)


def check_resources(options: Options) -> None:
    """Refuse what no machine has."""
    require(options.cpus_per_trial > 0, f"--cpus-per-trial is {options.cpus_per_trial:g}: give a positive number.")
    require(options.cpus is None or options.cpus > 0, f"--cpus is {options.cpus}: give at least 1.")
    gpus = options.gpus_per_trial
    require(gpus is None or gpus >= 0, f"--gpus-per-trial is {gpus}: give 0, a fraction, or a whole number.")
