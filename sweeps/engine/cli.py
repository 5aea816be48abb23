"""The command line that every study has: options in, exit status out; a user's mistake is one sentence."""

import atexit
import gc
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TypeVar

import tyro
from rich.console import Console
from rich.markup import escape

from sweeps.engine.checks import (
    check_device,
    check_effects,
    check_inputs,
    check_resources,
    check_same,
    check_shares,
)
from sweeps.engine.cluster.ray_start import RayStart, check_address
from sweeps.engine.export.choice import Export, check_export, chosen_trial
from sweeps.engine.folder import RunFolder
from sweeps.engine.options import (
    Options,
    each_option_once,
    export_of,
    free_settings,
    lasting_address,
    machine_of,
    resume_command,
    run_address,
)
from sweeps.engine.specs.spec import Spec
from trainable import names
from trainable.errors import InputError, require
from trainable.record.store import ADVICE, StoreError

USAGE_ERROR = 2
LOG_WIDTH = 120  # of tables where the output is not a terminal

AnyOptions = TypeVar("AnyOptions", bound=Options)


def setup() -> None:
    """What a command line does to its process before anything else."""
    atexit.register(gc.freeze)  # else Python looks through all of torch and Ray for garbage before it ends: 1.4 s


def main(
    study: Callable[[AnyOptions], Spec],
    options_type: type[AnyOptions],
    description: str | None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse, check, run. Returns the exit status: 0; 1 where trials failed; 2 for bad input; 130 if interrupted."""
    setup()
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


def _run(study: Callable[[AnyOptions], Spec], options: AnyOptions, console: Console) -> int:
    spec, folder, told = spec_and_folder(study, options)
    check_resources(options)
    check_shares(spec, options.workers_per_trial)
    check_device(spec, options)
    export = export_of(options)
    if export is not None:
        with folder.files.naming() if folder is not None else nullcontext():
            check_export(export, spec, folder)
    show_plan(spec, console, told)
    if options.dry_run:
        return 0
    if export is not None and folder is not None and folder.complete:
        with folder.locked(), folder.files.naming():
            return write_export(export, folder, console)
    machine = machine_of(options)
    check_address(machine.cluster)
    if folder is None:
        folder = RunFolder.create(lasting_address("--results", options.results), spec.study)
    else:
        folder.make(may_exist=True)
    folder.files.check_writable()
    console.print(f"Run folder: {folder.address}")
    with folder.locked(), folder.files.naming():
        with RayStart(machine) as ray_start:  # Ray starts while these import it and torch
            from sweeps.engine.provenance import provenance
            from sweeps.engine.run import run_sweep

            status = run_sweep(folder, spec, machine, ray_start, console, provenance(), resume_command(folder))
        return write_export(export, folder, console) if export is not None and folder.complete else status


def spec_and_folder(
    study: Callable[[AnyOptions], Spec], options: AnyOptions
) -> tuple[Spec, RunFolder | None, Sequence[str]]:
    """What is to be done, where (no folder yet for a new run that the time will name), and what to say of the input."""
    if options.resume is not None:
        require(options.run is None, "--resume and --run both say which run to go on with: leave one of them out.")
        folder = RunFolder.open(run_address("--resume", options.resume))
        return folder.spec(), folder, ()
    spec = study(options)
    check_effects(spec, free_settings(options))
    told = check_inputs(spec)
    results = lasting_address("--results", options.results)
    if options.run is None:
        return spec, None, told
    folder = RunFolder.named(results, spec.study, options.run)
    if folder.begun:
        check_same(folder, spec)
    return spec, folder, told


def write_export(export: Export, folder: RunFolder, console: Console) -> int:
    """Write the model of a run that is complete; the exit status is the run's."""
    from sweeps.engine.export.model_folder import write_model_folder

    trial = chosen_trial(export, folder)
    write_model_folder(folder, trial, export.folder)
    console.print(f"Exported {trial.plan.name} (validation loss {trial.loss:.4f}) to {export.folder}", highlight=False)
    return 1 if names.FAILED in [state for _, state, _ in folder.trials()] else 0


def show_plan(spec: Spec, console: Console, told: Sequence[str] = ()) -> None:
    """Print what will run on what, and what it costs at most. told: of the input."""
    base, steps = spec.base, sorted({config.loop.steps for config in spec.configs()})
    console.print(f"[bold]{spec.study}[/bold]: {spec.question}", highlight=False)
    setting = (
        f"corpus {base.corpus.source}, tokenizer {base.tokens.tokenizer}, model {base.model.name}, "
        f"depths {', '.join(map(str, spec.depths))}; {', '.join(map(str, steps))} steps of "
        f"{base.loop.batch_blocks * base.loop.accumulation} x {base.tokens.context} tokens"
    )
    for line in [setting, *told, *spec.plan_lines()]:
        console.print(f"  {line}", highlight=False)
