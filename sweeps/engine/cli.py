"""The command line that every study has: options in, exit status out; a user's mistake is one sentence."""

import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape

from sweeps.engine.spec import Search, Sweep, control_plans
from trainable.config import Packing, Schedule, Smoothing, TeacherRows, TrialConfig, override, require
from trainable.corpus import open_corpus
from trainable.errors import InputError
from trainable.split import split_rows
from trainable.tokenizer import known_vocab_size

USAGE_ERROR = 2
NAMES = ("builtin", "tiny", "small-llama2")  # never taken for files
LOG_WIDTH = 120  # of tables where the output is not a terminal


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be said on the command line; what is left out (None) takes the model's setting."""

    # --- data ---
    corpus: str = "builtin"
    """builtin (docstrings: a demonstration), a path (parquet, jsonl, txt, save_to_disk folder), or a hub id"""
    column: str = "text"
    """text column of the corpus"""
    train_rows: int | None = None
    """rows to train on, from the training split"""
    eval_rows: int | None = None
    """rows to validate on, from the validation split"""
    tokenizer: str | None = None
    """folder with tokenizer.json, hub id, or train:<vocabulary size>"""
    packing: Packing = "packed"
    """packed: no padding; as_published: 200 rows a string, padded"""

    # --- model and run ---
    model: str = "tiny"
    """tiny, small-llama2, or a folder with config.json"""
    layers: tuple[int, ...] = (1, 2)
    """depths to search, each by itself"""
    steps: int | None = None
    """optimizer steps of a trial"""
    set: tuple[str, ...] = ()
    """any other setting of a trial, e.g. --set optimizer.lr=1e-3 loop.accumulation=2"""

    # --- search ---
    schedules: tuple[Schedule, ...] = ("linear", "exponential", "reciprocal")
    """schedule types to search"""
    schedule_steps: tuple[int, int, int] | None = None
    """shortest, longest, increment of the scheduling steps"""
    min_weight: tuple[float, float, float] = (0.0, 0.5, 0.05)
    """lowest, highest, increment of the floor"""
    smoothing: Smoothing = "mle"
    """of the bigram teacher"""
    teacher_rows: TeacherRows = "student"
    """rows the teacher is counted on; all is a leak probe"""
    search: Search = "optuna"
    """optuna (TPE), random, or grid (every schedule of the space)"""
    num_samples: int | None = None
    """guided trials at each depth"""
    seed: int = 0
    """weights and batches of the search"""
    confirm_seeds: tuple[int, ...] | None = None
    """fresh seeds for the best schedule of each depth"""
    search_seed: int = 0
    """of the searcher"""
    asha: bool = True
    """stop guided trials that fall behind, after the longest schedule has ended"""
    grace_period: int | None = None
    """step of ASHA's first rung"""
    reduction_factor: int = 2
    """of ASHA: 1 in so many goes on"""

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


MakeSweep = Callable[[Options], Sweep]


def main(make_sweep: MakeSweep, description: str, arguments: Sequence[str] | None = None) -> int:
    """Parse, check, run. Returns the exit status: 0; 1 where trials failed; 2 for bad input; 130 if interrupted."""
    options = tyro.cli(Options, description=description, args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, soft_wrap=True)
    try:
        return _run(make_sweep, options, console)
    except InputError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True, highlight=False)
        return USAGE_ERROR
    except KeyboardInterrupt:  # while trials run, the driver handles it
        console.print("Interrupted outside of the trials; the same command goes on with what is prepared.")
        return 128 + signal.SIGINT  # as shells have it


def base_config(options: Options, setting: TrialConfig) -> TrialConfig:
    """The control's config: the model's setting with the options applied."""
    changes: dict[str, Any] = {
        "corpus.source": _absolute(options.corpus),
        "corpus.column": options.column,
        "tokens.packing": options.packing,
        "model.name": _absolute(options.model),
        "teacher.smoothing": options.smoothing,
        "teacher.rows": options.teacher_rows,
        "seed": options.seed,
    }
    optional = {
        "corpus.train_rows": options.train_rows,
        "corpus.eval_rows": options.eval_rows,
        "tokens.tokenizer": options.tokenizer and _absolute(options.tokenizer),
        "loop.steps": options.steps,
    }
    changes |= {key: value for key, value in optional.items() if value is not None}
    return override(setting, changes | dict(map(_assignment, options.set)))


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


def _run(make_sweep: MakeSweep, options: Options, console: Console) -> int:
    from sweeps.engine.folder import RunFolder, check_writable

    if options.resume is not None:
        folder = RunFolder.open(options.resume)
        sweep = folder.sweep()
    else:
        sweep = make_sweep(options)
        check_inputs(sweep.base)
    check_resources(options)
    show_plan(sweep, console)
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
        folder = RunFolder.create(options.results, sweep.study)
    check_writable(folder.path)
    console.print(f"Run folder: {folder.path}")
    try:
        return run_sweep(folder, sweep, machine, console, provenance())
    finally:
        folder.drop_unused()


def check_inputs(base: TrialConfig) -> None:
    """Open what the settings name, so that a wrong path, a damaged file or too few rows cost nothing."""
    vocab_size = known_vocab_size(base.tokens.tokenizer)
    if base.model.name not in NAMES:  # a folder: reading it imports torch
        from trainable.model import llama_config

        llama_config(base.model, vocab_size, base.tokens.context)
    split_rows(open_corpus(base.corpus).rows, base.corpus)


def check_resources(options: Options) -> None:
    """Refuse what no machine has."""
    require(options.cpus_per_trial > 0, f"--cpus-per-trial is {options.cpus_per_trial:g}: give a positive number.")
    require(options.cpus is None or options.cpus > 0, f"--cpus is {options.cpus}: give at least 1.")
    gpus = options.gpus_per_trial
    require(gpus is None or gpus >= 0, f"--gpus-per-trial is {gpus}: give 0, a fraction, or a whole number.")


def show_plan(sweep: Sweep, console: Console) -> None:
    """What will run, and what it costs at most against the full grid."""
    from sweeps.engine.space import points

    base, grid = sweep.base, len(points(sweep.space))
    console.print(f"[bold]{sweep.study}[/bold]: {sweep.question}", highlight=False)
    console.print(
        f"  corpus {base.corpus.source}, tokenizer {base.tokens.tokenizer}, model {base.model.name}, "
        f"depths {', '.join(map(str, sweep.layers))}; {base.loop.steps} steps of "
        f"{base.loop.batch_blocks * base.loop.accumulation} x {base.tokens.context} tokens",
        highlight=False,
    )
    for key, parameter in sweep.space.items():
        console.print(
            f"  {key}: {', '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in parameter.grid())}",
            highlight=False,
        )
    controls = [plan.name for seed in (base.seed, *sweep.confirm_seeds) for plan in control_plans(sweep, seed)]
    rungs = sweep.asha.rungs(base.loop.steps) if sweep.asha else []
    console.print(f"  controls: {', '.join(controls)}", highlight=False)
    console.print(
        f"  {sweep.num_samples} of {grid} schedules at each depth by {sweep.search}"
        + (f", judged by ASHA at step {', '.join(map(str, rungs))}" if rungs else ", all to the end")
        + (
            f"; the best of each depth again on seeds {', '.join(map(str, sweep.confirm_seeds))}"
            if sweep.confirm_seeds
            else ""
        ),
        highlight=False,
    )
    most = sweep.trials * base.loop.steps
    full = len(sweep.layers) * (grid + 1) * base.loop.steps
    console.print(f"  at most {sweep.trials} trials, {most:,} trial-steps (the full grid: {full:,})", highlight=False)
