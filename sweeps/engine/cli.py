"""The command line that every study has: options in, exit status out; a user's mistake is one sentence."""

import atexit
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from analysis import working_directory
from sweeps.engine import termination
from sweeps.engine.checks import (
    check_device,
    check_effects,
    check_inputs,
    check_minutes,
    check_resources,
    check_shares,
)
from sweeps.engine.cluster.ray_start import Machine, RayStart, check_address
from sweeps.engine.export.choice import Export, check_export, chosen_trial
from sweeps.engine.folder import RunFolder
from sweeps.engine.options import (
    AnyOptions,
    check_beside_resume,
    each_option_once,
    export_of,
    free_settings,
    lasting_address,
    machine_of,
    resume_command,
    run_address,
    sampled,
    typed_settings,
    with_size,
)
from sweeps.engine.parsing import parsed
from sweeps.engine.precision import kept_precision_lines, settled
from sweeps.engine.resumption import check_data, check_resumable, check_same, remember
from sweeps.engine.specs.spec import Spec
from trainable import names
from trainable.errors import InputError, first_line, require
from trainable.imports import garbage_collector_off
from trainable.record.cache import check_cache
from trainable.record.home import ensure_home
from trainable.record.lines import WIDTH, paragraph
from trainable.record.option import in_options
from trainable.record.printing import steady_output
from trainable.record.store import ADVICE, StoreError

USAGE_ERROR = 2
# Tokens in all trials of a short run, which is not measured beforehand: measuring takes 13 s (on two cores of an AMD
# EPYC), and by then the first trials of a short run have told their rate.
SHORT, SHORT_FOR_TINY = 1_000_000, 10_000_000


def setup() -> None:
    """Let the process end without a last search for garbage through all objects of torch and Ray."""
    atexit.register(gc.freeze)  # saves 1.4 s


def main(
    study: Callable[[AnyOptions], Spec],
    options_type: type[AnyOptions],
    description: str | None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse the options, check them, run the study, and return the exit status (sweeps/README.md lists them)."""
    setup()
    with steady_output(), termination.taken_like_ctrl_c():
        # Text of a user's is never read as markup or as the name of an emoji.
        console = Console(width=None if sys.stdout.isatty() else WIDTH, soft_wrap=True, markup=False, emoji=False)
        if (said := ensure_home()) is not None:
            console.print(said)
        arguments = sys.argv[1:] if arguments is None else arguments
        try:
            working_directory()
            arguments = each_option_once(arguments)
            options = parsed(options_type, description, arguments)
            if options.resume is not None:
                check_beside_resume(arguments)
            with termination.interruption_first():
                return _run(study, options, console)
        except (InputError, StoreError) as error:
            said = f"{error}: {ADVICE}." if isinstance(error, StoreError) else str(error)
            return _refuse(in_options(said, typed_settings(arguments)))
        except ImportError as error:
            return _refuse(f"a library cannot be imported ({first_line(error)}): mend the installation.")
        except PermissionError as error:
            return _refuse(f"{error.filename} cannot be used ({error.strerror}): change its permissions.")
        except KeyboardInterrupt:  # before or after the trials; while they run, run.py handles it
            console.print("Interrupted outside of the trials; the same command goes on with what is prepared.")
            return termination.leave(termination.exit_status())


def _refuse(said: str) -> int:
    Console(stderr=True).print(Text.assemble(("error:", "red"), f" {said}"), soft_wrap=True)
    return USAGE_ERROR


def _run(study: Callable[[AnyOptions], Spec], options: AnyOptions, console: Console) -> int:
    check_resources(options)
    check_minutes(options)
    spec, folder, places, told, precision_from = work_of(study, options)
    check_shares(spec, options.workers_per_trial)
    check_device(spec, options)
    export = export_of(options)
    if export is not None:
        with folder.files.naming() if folder is not None else nullcontext():
            check_export(export, spec, folder)
    machine = machine_of(options)
    export_alone = export is not None and folder is not None and folder.complete
    if not export_alone:
        check_address(machine)
        check_cache()
    prediction = None
    if options.minutes is not None and (folder is None or not folder.begun):
        from sweeps.engine.budget.sizing import sized  # imports PyTorch

        spec, prediction, said = sized(lambda of_size: settled(study(of_size)).spec, options, spec)
        told = [*told, said]
    show_aim(spec, console)
    if prediction is not None:
        show(f"time: {prediction.line()}", console)
    elif not export_alone and (options.dry_run or folder is None or not folder.begun):
        said = "not measured for a run this short; its progress shows the time left (--dry-run measures it beforehand)"
        if options.dry_run or is_long(spec):
            with console.status("measuring this machine for some seconds"):
                said = time_of(spec, machine, folder, places)
        show(f"time: {said}", console)
    show_plan(spec, console, told)
    if options.dry_run:
        if folder is None:
            RunFolder.check_results(lasting_address("--results", options.results))
        elif folder.begun and not export_alone:
            check_resumable(folder, spec, machine)
        return 0
    if export is not None and folder is not None and export_alone:
        with folder.locked(), folder.files.naming():
            remember(folder, places)
            return write_export(export, folder, console)
    if folder is None:
        folder = RunFolder.create(lasting_address("--results", options.results), spec.study)
    else:
        folder.make(may_exist=True)
    folder.files.check_writable()
    console.print(f"Run folder: {folder.address}")
    with ExitStack() as stack:
        stack.enter_context(folder.locked())
        stack.enter_context(folder.files.naming())
        if options.watch:
            from sweeps.engine.watch import watched  # imports pandas and matplotlib

            stack.enter_context(watched(folder.files, console))
        with RayStart(machine) as ray_start:  # Ray starts while these import it and torch
            with garbage_collector_off():
                from sweeps.engine.provenance import provenance
                from sweeps.engine.run import run_sweep

            facts, resume = {**provenance(), "precision_from": precision_from}, resume_command(folder)
            status = run_sweep(folder, spec, machine, ray_start, console, facts, resume, places)
        return write_export(export, folder, console) if export is not None and folder.complete else status


def is_long(spec: Spec) -> bool:
    """Whether a run is long enough to measure first how long it takes."""
    steps = sum(load.trials * load.steps for load in spec.workloads())
    loop = spec.base.loop
    tokens = steps * loop.batch_blocks * loop.accumulation * spec.base.tokens.context
    return tokens >= (SHORT_FOR_TINY if spec.base.model.name == "tiny" else SHORT)


def time_of(spec: Spec, machine: Machine, folder: RunFolder | None, places: Mapping[str, str]) -> str:
    """Return how long a run takes on this machine, or its remaining part if it has begun, as words for the plan."""
    from sweeps.engine.budget.calibration import CannotMeasure, calibrate, check_measurable  # imports PyTorch
    from sweeps.engine.budget.data_size import data_size
    from sweeps.engine.budget.prediction import predict

    done = 0.0
    if folder is not None and folder.begun:
        reached = sum(folder.reached().values())
        done = min(1.0, reached / sum(load.trials * load.steps for load in spec.workloads()))
    try:
        check_measurable(machine)
        size = data_size(spec, places)
        return predict(spec, calibrate(spec, machine, size), size, done).line(left=done > 0)
    except CannotMeasure as error:
        return f"not predicted, for {error}"


class Work(NamedTuple):
    """A run as the options ask for it."""

    spec: Spec
    folder: RunFolder | None  # None: a new run, which will be named by the time
    places: Mapping[str, str]  # new paths of files of the spec that have moved since the run began
    told: Sequence[str]  # lines of the plan on corpus, tokenizer, model and precision
    precision_from: str | None = None  # why loop.precision=auto took this precision; None: auto was not used


def work_of(study: Callable[[AnyOptions], Spec], options: AnyOptions) -> Work:
    """Return the run to begin or to go on with, once the files and names in its settings have been checked."""
    if options.resume is not None:
        require(options.run is None, "--resume and --run both say which run to go on with: leave one of them out.")
        folder = RunFolder.open(run_address("--resume", options.resume))
        spec = folder.spec()
        places, told = check_data(folder, spec, options.corpus, options.tokenizer)
        return Work(spec, folder, places, [*told, *kept_precision_lines(spec, folder.record())])
    spec = study(options)
    check_effects(spec, free_settings(options))
    results = lasting_address("--results", options.results)
    named = None if options.run is None else RunFolder.named(results, spec.study, options.run)
    if named is not None and named.begun:
        if options.minutes is not None:
            begun = named.spec()  # has its sizes, whatever the machine would allow now
            spec = study(with_size(options, begun.base.loop.steps, sampled(options, begun)))
        asked, spec = spec, check_same(named, spec)
        places, told = check_data(named, spec, options.corpus, options.tokenizer)
        return Work(spec, named, places, [*told, *kept_precision_lines(spec, named.record(), asked)])
    told = check_inputs(spec)
    spec, because = settled(spec)
    if because is not None:
        told = [*told, f"precision: {spec.base.loop.precision}, which auto takes on this machine, for {because}"]
    return Work(spec, named, {}, told, because)


def write_export(export: Export, folder: RunFolder, console: Console) -> int:
    """Write a model of a complete run, and return the exit status of the run."""
    from sweeps.engine.export.model_folder import write_model_folder

    trial = chosen_trial(export, folder)
    write_model_folder(folder, trial, export.folder)
    console.print(f"Exported {trial.plan.name} (validation loss {trial.loss:.4f}) to {export.folder}", highlight=False)
    return 1 if names.FAILED in [state for _, state, _ in folder.trials()] else 0


def show_aim(spec: Spec, console: Console) -> None:
    """Print the question of a run and its size, the last line of its plan."""
    head = paragraph(f"{spec.study}: {spec.question}", console.width)
    console.print(Text.assemble((spec.study, "bold"), head.removeprefix(spec.study)))
    show(spec.plan_lines()[-1], console)


def show_plan(spec: Spec, console: Console, told: Sequence[str] = ()) -> None:
    """Print what will run on what. told: lines on corpus, tokenizer, model and precision."""
    base, steps = spec.base, sorted({config.loop.steps for config in spec.configs()})
    setting = (
        f"corpus {base.corpus.source}, tokenizer {base.tokens.tokenizer}, model {base.model.name}, "
        f"depths {', '.join(map(str, spec.depths))}; {', '.join(map(str, steps))} steps of "
        f"{base.loop.batch_blocks * base.loop.accumulation} x {base.tokens.context} tokens in {base.loop.precision}"
    )
    for line in [setting, *told, *spec.plan_lines()[:-1]]:
        show(line, console)


def show(line: str, console: Console) -> None:
    """Print a line of the plan, broken between words."""
    console.print(paragraph(line, console.width, "  "), highlight=False)
