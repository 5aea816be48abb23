"""Options that every study understands, and what is made of them: settings, machine, results folder, resume command.

What is left out takes the study's setting; what an option does not name, `--set key=value` does.
"""

import glob
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import tyro

from sweeps.engine.cluster.ray_start import Machine
from sweeps.engine.export.choice import Export
from sweeps.engine.folder import RunFolder
from sweeps.engine.settings import SMOKE, stretched
from sweeps.engine.specs.spec import Spec
from trainable.config import Packing, Smoothing, TeacherRows, TrialConfig, from_text, override
from trainable.errors import InputError, require
from trainable.record.files import user_path
from trainable.record.store import Store, is_uri

NAMES = ("builtin", "tiny", "small-llama2")  # never taken for files
KEPT = (
    "--export",
    "--address",
    "--workers-per-trial",
    "--cpus-per-trial",
    "--gpus-per-trial",
    "--cpus",
    "--dashboard-host",
    "--watch",
)  # options that a run does not remember
# What may stand beside --resume: besides these, where the files of the run lie now.
BESIDE_RESUME = (*KEPT, "--resume", "--run", "--corpus", "--tokenizer", "--dry-run", "--no-dry-run", "--no-watch")
_PATHS = ("corpus.source", "tokens.tokenizer", "model.name")
_JOB_COPY = "working_dir_files"  # in the path of what `ray job submit --working-dir` copies to the head


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every study understands; what is left out (None) takes the study's setting."""

    # --- data ---
    corpus: str | None = None
    """builtin (four novels, 1 MB), a path (parquet, jsonl, csv, txt, folder, quoted 'pattern*'), or a hub id"""
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
    """tiny, small-llama2, or a folder with the config.json of a causal language model of transformers"""
    steps: int | None = None
    """optimizer steps of a trial"""
    minutes: float | None = None
    """size the run to take so long on this machine: measures it for some seconds, then chooses steps and trials"""
    smoothing: Smoothing | None = None
    """smoothing of the bigram teacher"""
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
    """a run folder: go on with it as it was begun; --corpus and --tokenizer say where these lie now, if they moved"""
    export: Annotated[tuple[str, str] | None, tyro.conf.arg(metavar="best|TRIAL DIR")] = None
    """write a trained model to a new folder that transformers loads: of the trial named, or best for the finished trial
    with the lowest final validation loss, of a search among the winners on fresh seeds; with --resume RUN of a complete
    run, nothing is trained"""
    address: str | None = None
    """of a Ray cluster to join (default: RAY_ADDRESS, or an own Ray)"""
    workers_per_trial: Annotated[int, tyro.conf.arg(name="workers-per-trial")] = 1
    """processes that train one model together, data-parallel; each takes a share of every batch"""
    cpus_per_trial: Annotated[float, tyro.conf.arg(name="cpus-per-trial")] = 1
    """CPUs, and threads, of a trial (of each of its workers)"""
    gpus_per_trial: float | None = None
    """GPUs of a trial (of each of its workers), may be a fraction (default: 1 where there are any)"""
    cpus: int | None = None
    """CPUs that an own Ray may use (default: all that this process may use)"""
    dashboard_host: str = "127.0.0.1"
    """address the dashboard of an own Ray listens on"""
    watch: bool = False
    """serve a page on this machine that shows the run while it goes, and its report at the end"""

    # --- instead of a run ---
    dry_run: bool = False
    """check everything that can be checked, show the plan and how long it takes here, run nothing"""
    smoke_test: bool = False
    """the whole path in the smallest form: a few trials of a few steps"""


AnyOptions = TypeVar("AnyOptions", bound=Options)


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


def check_beside_resume(arguments: Sequence[str]) -> None:
    """Raise InputError for an option that a run which goes on would ignore."""
    for word in arguments:
        option = word.partition("=")[0].replace("_", "-")
        if word.startswith("--") and word != "--" and option not in BESIDE_RESUME:
            raise InputError(
                f"{option} beside --resume would change nothing, for a run goes on with the settings it was begun "
                "with: leave it out, or begin a new run."
            )


def base_config(options: Options, setting: TrialConfig) -> TrialConfig:
    """The control's config: the setting with the options applied."""
    named = {key: value for key, value in named_settings(options).items() if value is not None}
    free = free_settings(options)
    if both := named.keys() & free.keys():
        raise InputError(f"{sorted(both)[0]} is given by its own option and by --set: leave one of them out.")
    setting = override(setting, SMOKE) if options.smoke_test else setting
    given = {key: absolute(value) if key in _PATHS else value for key, value in (named | free).items()}
    chosen = {} if options.minutes is None or options.steps is None else stretched(setting, options.steps)
    return override(setting, chosen | given)


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
    """{dotted key: value} that --set gives."""
    given: dict[str, Any] = {}
    for text in options.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text!r}: write key=value, such as optimizer.lr=1e-3.")
        if key in given:
            raise InputError(f"--set gives {key} twice: give it once.")
        given[key] = from_text(key, value)
    return given


def absolute(name: Any) -> Any:
    """A path that exists, or a pattern, made absolute, for workers run in other folders; any other name as it is."""
    if not isinstance(name, str) or name in NAMES or not name:
        return name
    path = user_path(name)
    is_path = path.exists() or glob.has_magic(name)
    return str(Path.cwd() / path) if is_path else name  # a link keeps its name, whose ending tells the kind


def with_size(options: AnyOptions, steps: int, samples: int | None) -> AnyOptions:
    """The options with --steps and, where a number is given, --num-samples."""
    of_search: dict[str, Any] = {} if samples is None else {"num_samples": samples}
    return replace(options, steps=steps, **of_search)


def sampled(options: Options, spec: Spec) -> int | None:
    """The --num-samples that give this run; None where the study has no such option, or runs its whole grid."""
    chooses = hasattr(options, "num_samples") and getattr(options, "search", None) != "grid"
    return getattr(spec, "num_samples", None) if chooses else None


def machine_of(options: Options) -> Machine:
    """The machine that the options describe."""
    return Machine(
        address=options.address,
        workers_per_trial=options.workers_per_trial,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        cpus=options.cpus,
        dashboard_host=options.dashboard_host,
    )


def export_of(options: Options) -> Export | None:
    """The model that --export asks for; None without it."""
    if options.export is None:
        return None
    trial, folder = options.export
    require(not is_uri(folder), f"--export is {folder}: give a path, for transformers loads models from folders.")
    return Export(trial, lasting_path("--export", user_path(folder)).absolute())


def resume_command(folder: RunFolder) -> str:
    """The command that goes on with a run of this process."""
    return shlex.join(["python", sys.argv[0], "--resume", folder.files.called, *kept(sys.argv[1:])])


def kept(arguments: Sequence[str]) -> Iterator[str]:
    """The options of KEPT, with their values."""
    keep = False
    for word in arguments:
        if word.startswith("--"):
            keep = word.partition("=")[0].replace("_", "-") in KEPT
        if keep:
            yield word


def run_address(option: str, text: str) -> Path | str:
    """A path, or a URI of a store. Raises InputError for a URI that cannot be opened."""
    if not is_uri(text):
        return user_path(text)
    parts = urlsplit(text)
    if parts.scheme.lower() != "file":
        Store(text)  # says what is wrong with it
        return text
    path = url2pathname(parts.path)
    require(
        parts.netloc in ("", "localhost") and path.startswith("/"),
        f"{option} is {text}: write file:///folder, or the path alone.",
    )
    return user_path(path)


def lasting_address(option: str, text: str) -> Path | str:
    """A place to write to. Raises InputError as `run_address` does, and for a folder that Ray removes after the job."""
    place = run_address(option, text)
    return lasting_path(option, place) if isinstance(place, Path) else place


def lasting_path(option: str, path: Path) -> Path:
    """The path itself. Raises InputError for a folder that Ray removes when the job ends."""
    require(
        _JOB_COPY not in path.absolute().parts,
        f"{option} is {path}, which lies in the copy of the working folder that Ray removes after the job: give an "
        "absolute path, on a file system that all nodes share.",
    )
    return path
