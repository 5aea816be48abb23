"""Options of every study, and what is made of them: settings, machine, results folder, resume command.

An option that is left out takes the study's setting. `--set key=value` gives any setting that has no option.
"""

import glob
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sweeps.engine.cluster.ray_start import Machine
from sweeps.engine.export.choice import Export
from sweeps.engine.folder import RunFolder
from sweeps.engine.settings import SMOKE, stretched
from sweeps.engine.specs.spec import Spec
from trainable.config import Packing, Smoothing, TeacherRows, TrialConfig, from_text, override
from trainable.errors import InputError, require
from trainable.record.files import user_path
from trainable.record.option import option
from trainable.record.store import Store, is_uri

NAMES = ("builtin", "tiny", "small-llama2")  # names that are never read as paths
KEPT = (
    "--export",
    "--address",
    "--workers-per-trial",
    "--cpus-per-trial",
    "--gpus-per-trial",
    "--cpus",
    "--no-dashboard",
    "--dashboard-host",
    "--watch",
)  # options that run.json does not keep, so that the command to resume repeats them
# Options that are allowed beside --resume: those above, and the new paths of the run's files.
BESIDE_RESUME = (
    *KEPT,
    "--resume",
    "--run",
    "--corpus",
    "--tokenizer",
    "--dry-run",
    "--no-dry-run",
    "--dashboard",
    "--no-watch",
)
SETTINGS: Final = {  # {option: the setting that it sets}
    "corpus": "corpus.source",
    "column": "corpus.column",
    "train_rows": "corpus.train_rows",
    "eval_rows": "corpus.eval_rows",
    "tokenizer": "tokens.tokenizer",
    "packing": "tokens.packing",
    "model": "model.name",
    "steps": "loop.steps",
    "smoothing": "teacher.smoothing",
    "teacher_rows": "teacher.rows",
}
_PATHS = ("corpus.source", "tokens.tokenizer", "model.name")
_JOB_COPY = "working_dir_files"  # a folder in the path of the copy that `ray job submit --working-dir` makes


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Options for the text and for how it becomes tokens."""

    GROUP = "data"
    corpus: Annotated[str | None, option("PATH|ID", "the study's, mostly builtin")] = None
    """builtin (four novels, 1 MB), a path (parquet, jsonl, csv, txt, a folder, a quoted 'pattern*'), or a hub id"""
    column: Annotated[str | None, option("STR", "text")] = None
    """column of the corpus that holds the text"""
    train_rows: Annotated[int | None, option("INT", "the study's")] = None
    """rows to train on, from the training split"""
    eval_rows: Annotated[int | None, option("INT", "the study's")] = None
    """rows to validate on, from the validation split"""
    tokenizer: Annotated[str | None, option("PATH|ID", "the study's")] = None
    """a folder with tokenizer.json, a hub id, or train:SIZE to train one of that many tokens"""
    packing: Annotated[Packing | None, option("{packed,as_published}", "the study's")] = None
    """packed: no padding; as_published: 200 rows joined to a string, padded"""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Options for the student, its teacher and the length of a trial."""

    GROUP = "model and run"
    model: Annotated[str | None, option("NAME|DIR", "the study's")] = None
    """tiny, small-llama2, or a folder with the config.json of a causal language model of transformers"""
    steps: Annotated[int | None, option("INT", "the study's")] = None
    """optimizer steps of a trial"""
    minutes: Annotated[float | None, option("FLOAT", "the study's own size")] = None
    """how long the run is to take: measures this machine for some seconds, then chooses steps and trials"""
    smoothing: Annotated[Smoothing | None, option("METHOD", "the study's")] = None
    """smoothing of the bigram teacher: mle, modified_kneser_ney, or another of trainable/teacher/smoothing.py"""
    teacher_rows: Annotated[TeacherRows | None, option("{student,train_split,all}", "the study's")] = None
    """rows on which the teacher is counted; all has the validation rows too, a leak on purpose"""
    set: Annotated[tuple[str, ...], option("KEY=VALUE ...", "none")] = ()
    """any other setting of trainable/config.py, such as optimizer.lr=1e-3 loop.accumulation=2"""


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Options for where a run writes and on what it runs."""

    GROUP = "where"
    results: Annotated[str, option("DIR|URI")] = "results"
    """runs are written to RESULTS/STUDY/TIME; on a cluster a folder that all nodes share, or s3://bucket/results"""
    run: Annotated[str | None, option("NAME", "the time")] = None
    """name of the run: the same command starts it or goes on with it, for a scheduler that retries"""
    resume: Annotated[str | None, option("DIR|URI", "a new run")] = None
    """run folder to go on with, as it was begun; --corpus and --tokenizer beside it say where these have moved"""
    export: Annotated[tuple[str, str] | None, option("best|TRIAL DIR", "no model is written")] = None
    """write the model of a trial, or of the best, to a new folder; with --resume of a complete run, train nothing"""
    address: Annotated[str | None, option("HOST:PORT", "RAY_ADDRESS, or a Ray of its own")] = None
    """Ray cluster to join"""
    workers_per_trial: Annotated[int, option("INT")] = 1
    """processes that train one model together, data-parallel; each takes a share of every batch"""
    cpus_per_trial: Annotated[float, option("FLOAT")] = 1
    """CPUs, and threads, of a trial (of each of its workers)"""
    gpus_per_trial: Annotated[float | None, option("FLOAT", "1 where there are any, else 0")] = None
    """GPUs of a trial (of each of its workers); may be a fraction"""
    cpus: Annotated[int | None, option("INT", "all that this process may use")] = None
    """CPUs for a Ray of its own"""
    dashboard: bool = True
    """start the dashboard of a Ray of its own"""
    dashboard_host: Annotated[str, option("HOST")] = "127.0.0.1"
    """address on which the dashboard of a Ray of its own listens"""
    watch: bool = False
    """serve a page on this machine that shows the run while it goes, and its report at the end"""


@dataclass(frozen=True, kw_only=True)
class InsteadOptions:
    """Options that replace the run by something smaller."""

    GROUP = "instead of a run"
    dry_run: bool = False
    """check all that can be checked, show the plan and how long it takes here, and run nothing"""
    smoke_test: bool = False
    """run the whole path in its smallest form: a few trials of a few steps"""


@dataclass(frozen=True, kw_only=True)
class Options(DataOptions, ModelOptions, PlaceOptions, InsteadOptions):
    """Options of every study; one that is left out (None) takes the study's setting."""


AnyOptions = TypeVar("AnyOptions", bound=Options)


def each_option_once(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the values of all --set after one. Raises InputError for another option given twice.

    Without this check the parser takes the last one and silently drops the others.
    """
    given: dict[str, list[str]] = {}
    option = ""  # the words before the first option
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
    """Raise InputError for an option that would be ignored beside --resume."""
    for word in arguments:
        option = word.partition("=")[0].replace("_", "-")
        if word.startswith("--") and word != "--" and option not in BESIDE_RESUME:
            raise InputError(
                f"{option} beside --resume would change nothing, for a run goes on with the settings it was begun "
                "with: leave it out, or begin a new run."
            )


def base_config(options: Options, setting: TrialConfig) -> TrialConfig:
    """Return the config of the control: the study's setting with the options applied."""
    named = {key: value for key, value in named_settings(options).items() if value is not None}
    free = free_settings(options)
    if both := named.keys() & free.keys():
        raise InputError(f"{sorted(both)[0]} is given by its own option and by --set: leave one of them out.")
    setting = override(setting, SMOKE) if options.smoke_test else setting
    given = {key: absolute(value) if key in _PATHS else value for key, value in (named | free).items()}
    chosen = {} if options.minutes is None or options.steps is None else stretched(setting, options.steps)
    return override(setting, chosen | given)


def named_settings(options: Options) -> dict[str, Any]:
    """Return {dotted key: value} of the settings that have an option of their own; None for an option not given."""
    return {setting: getattr(options, name) for name, setting in SETTINGS.items()}


def typed_settings(arguments: Sequence[str]) -> dict[str, str]:
    """Return the part of SETTINGS whose options are among these arguments, for messages in the user's own words."""
    typed = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in arguments if word.startswith("--")}
    return {name: setting for name, setting in SETTINGS.items() if name in typed}


def free_settings(options: Options) -> dict[str, Any]:
    """Return {dotted key: value} of the settings given by --set."""
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
    """Return an existing path or a pattern as absolute, since workers run in other folders; any other name as it is."""
    if not isinstance(name, str) or name in NAMES or not name:
        return name
    path = user_path(name)
    is_path = path.exists() or glob.has_magic(name)
    return str(Path.cwd() / path) if is_path else name  # a link keeps its name, whose ending tells the kind


def with_size(options: AnyOptions, steps: int, samples: int | None) -> AnyOptions:
    """Return the options with other --steps and, unless samples is None, another --num-samples."""
    of_search: dict[str, Any] = {} if samples is None else {"num_samples": samples}
    return replace(options, steps=steps, **of_search)


def sampled(options: Options, spec: Spec) -> int | None:
    """Return the --num-samples of this run; None if the study has no such option, or runs its whole grid."""
    chooses = hasattr(options, "num_samples") and getattr(options, "search", None) != "grid"
    return getattr(spec, "num_samples", None) if chooses else None


def machine_of(options: Options) -> Machine:
    """Return the machine that the options describe."""
    return Machine(
        address=options.address,
        workers_per_trial=options.workers_per_trial,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        cpus=options.cpus,
        dashboard=options.dashboard,
        dashboard_host=options.dashboard_host,
    )


def export_of(options: Options) -> Export | None:
    """Return the model that --export asks for; None without --export."""
    if options.export is None:
        return None
    trial, folder = options.export
    require(not is_uri(folder), f"--export is {folder}: give a path, for transformers loads models from folders.")
    return Export(trial, lasting_path("--export", user_path(folder)).absolute())


def resume_command(folder: RunFolder) -> str:
    """Return the command that resumes a run of this process."""
    return shlex.join(["python", sys.argv[0], "--resume", folder.files.called, *kept(sys.argv[1:])])


def kept(arguments: Sequence[str]) -> Iterator[str]:
    """Yield those arguments that are options of KEPT, with their values."""
    keep = False
    for word in arguments:
        if word.startswith("--"):
            keep = word.partition("=")[0].replace("_", "-") in KEPT
        if keep:
            yield word


def run_address(option: str, text: str) -> Path | str:
    """Return the path or the URI that an option gives. Raises InputError for a URI that cannot be opened."""
    if not is_uri(text):
        return user_path(text)
    parts = urlsplit(text)
    if parts.scheme.lower() != "file":
        Store(text)  # raises InputError that says what is wrong with the URI
        return text
    path = url2pathname(parts.path)
    require(
        parts.netloc in ("", "localhost") and path.startswith("/"),
        f"{option} is {text}: write file:///folder, or the path alone.",
    )
    return user_path(path)


def lasting_address(option: str, text: str) -> Path | str:
    """Return a path or URI to write to. Raises InputError as `run_address` and `lasting_path` do."""
    place = run_address(option, text)
    return lasting_path(option, place) if isinstance(place, Path) else place


def lasting_path(option: str, path: Path) -> Path:
    """Return the path. Raises InputError for a path in a folder that Ray removes when the job ends."""
    require(
        _JOB_COPY not in path.absolute().parts,
        f"{option} is {path}, which lies in the copy of the working folder that Ray removes after the job: give an "
        "absolute path, on a file system that all nodes share.",
    )
    return path
