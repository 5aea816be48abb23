"""Names that Ray, Optuna and datasets do not promise to keep: a list of those that the code uses.

Dependencies float (`ray>=2.60`), so a new version may lack one of these names. Then the test of this name fails. Its
message says which file uses the name and what to do there; until this is done, install the versions in `TESTED`.
"""

import ast
import importlib
import inspect
import logging
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from paths import ROOT

TESTED = {"ray": "2.60.0", "optuna": "5.0.0", "transformers": "5.23.0", "datasets": "5.2.0"}
OURS = {"_asdict", "_fields", "_replace", "_exit"}  # documented: methods of named tuples, and os._exit


class Private(NamedTuple):
    """A name that a new version of its library may lack."""

    library: str
    name: str  # as the code spells it
    used_in: str
    found: Callable[[], object]  # returns true if the name exists and works as the code uses it
    otherwise: str  # what to do in the file if the name is missing


def attribute(module: str, *names: str) -> Any:
    found: Any = importlib.import_module(module)
    for name in names:
        found = getattr(found, name, None)
    return found


def takes(module: str, name: str, *parameters: str) -> bool:
    return set(parameters) <= set(inspect.signature(attribute(module, name)).parameters)


def brackets_rungs() -> object:
    bracket = attribute("ray.tune.schedulers.async_hyperband", "_Bracket")(10, 100, 2, 0, stop_last_trials=False)
    ((rung, recorded), *_) = bracket._rungs
    return rung and recorded == {} and bracket.cutoff({"a": 1.0, "b": 2.0}) is not None


def source_has(module: str, text: str) -> bool:
    found = importlib.util.find_spec(module)  # type: ignore[attr-defined]
    return any(text in path.read_text() for path in Path(found.origin).parent.rglob("*.py"))


PRIVATE = [
    Private(
        "ray",
        "_Bracket",
        "sweeps/engine/order/asha.py",
        lambda: takes("ray.tune.schedulers.async_hyperband", "_Bracket", "min_t", "max_t", "reduction_factor", "s"),
        "write rungs and cutoff in that file: about 15 lines; the cases are in tests/sweeps/engine/order/test_asha.py",
    ),
    Private(
        "ray",
        "_rungs",
        "sweeps/engine/order/asha.py",
        brackets_rungs,
        "look up how a bracket stores its records in this version, or write the rungs in that file",
    ),
    Private(
        "ray",
        "_max_t",
        "sweeps/engine/order/asha.py",
        lambda: hasattr(attribute("ray.tune.schedulers", "AsyncHyperBandScheduler")(max_t=7), "_max_t"),
        "keep the steps in GroupAsha itself",
    ),
    Private(
        "ray",
        "_raylet",
        "trainable/trial.py",
        lambda: callable(attribute("ray", "_raylet", "setproctitle")),
        "the dashboard shows only the class of a worker: look for a public call, or remove name_process",
    ),
    Private(
        "ray",
        "wrap_function",
        "trainable/trial.py",
        lambda: takes("ray.tune.trainable", "wrap_function", "train_func"),
        "give the Tuner the function itself; the dashboard then shows no names of trials",
    ),
    Private(
        "ray",
        "ENV_VARS_TO_PROPAGATE",
        "trainable/data_parallel.py",
        lambda: (
            {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"}
            <= attribute("ray.train.v2._internal.constants", "ENV_VARS_TO_PROPAGATE")
        ),
        "look up how Ray Train's PlacementGroupCleaner finds its cluster, or leave _tell_ray_train out: where several "
        "Rays run on a machine, a killed data-parallel trial then keeps its CPUs",
    ),
    Private(
        "ray",
        "pickled_error_file",
        "sweeps/engine/failures.py",
        lambda: isinstance(
            inspect.getattr_static(attribute("ray.tune.experiment", "Trial"), "pickled_error_file"), property
        ),
        "look up where this version of Tune keeps a trial's last error, or report every death as a killed worker",
    ),
    Private(
        "ray",
        "num_failures",
        "sweeps/engine/failures.py",
        lambda: hasattr(attribute("ray.tune.experiment", "Trial"), "num_failures"),
        "count the restarts of a trial in WorkerDeaths itself",
    ),
    Private(
        "ray",
        "TUNE_MAX_PENDING_TRIALS_PG",
        "sweeps/engine/cluster/ray_start.py",
        lambda: source_has("ray.tune", "TUNE_MAX_PENDING_TRIALS_PG"),
        "look up how this version lets a custom searcher have several pending trials; else workers start one by one",
    ),
    Private(
        "ray",
        "ray.tune.execution.tune_controller",
        "sweeps/engine/run.py",
        lambda: isinstance(attribute("ray.tune.execution.tune_controller", "logger"), logging.Logger),
        "look up which logger of this version prints a traceback for each death",
    ),
    Private(
        "ray",
        "ray.tune.execution.experiment_state",
        "sweeps/engine/cluster/ray_start.py",
        lambda: isinstance(attribute("ray.tune.execution.experiment_state", "logger"), logging.Logger),
        "look up which logger of this version prints a traceback when the disk is full",
    ),
    Private(
        "ray",
        "print_to_stdstream",
        "sweeps/engine/cluster/ray_start.py",
        lambda: (
            source_has("ray._private", "            print_to_stdstream(\n")
            and takes("ray._private.worker", "print_to_stdstream", "data")
        ),
        "look up what prints the tracebacks of dead workers in this version; else they appear beside our own sentence",
    ),
    Private(
        "ray",
        "_serialize",
        "sweeps/engine/cluster/worker_path.py",
        lambda: isinstance(attribute("ray.job_config", "JobConfig")()._serialize(), bytes),
        "look up where this version sends a job's settings; else workers may import a user's file in place of ours",
    ),
    Private(
        "ray",
        "_py_driver_sys_path",
        "sweeps/engine/cluster/worker_path.py",
        lambda: attribute("ray.job_config", "JobConfig")()._py_driver_sys_path == [],
        "look up where this version keeps the folders that workers search first",
    ),
    Private(
        "ray",
        "_runtime_env_has_working_dir",
        "sweeps/engine/cluster/worker_path.py",
        lambda: attribute("ray.job_config", "JobConfig")()._runtime_env_has_working_dir() is False,
        "find another way to know whether the command is a submitted job",
    ),
    Private(
        "ray",
        "failed to import on the worker",
        "sweeps/engine/failures.py",
        lambda: source_has("ray", "failed to import on the worker"),
        "write Ray's new words in that file; else a library that a node lacks makes trials fail for good",
    ),
    Private(
        "ray",
        "actor_init_failed",
        "sweeps/engine/failures.py",
        lambda: attribute("ray.exceptions", "ActorDiedError")().actor_init_failed is False,
        "look up how this version says that a worker could not be set up",
    ),
    Private(
        "ray",
        "psutil",
        "sweeps/engine/interrupt.py",
        lambda: importlib.import_module("ray") and importlib.import_module("psutil").Process().children is not None,
        "make psutil a dependency of our own",
    ),
    Private(
        "optuna",
        "_study_id",
        "sweeps/engine/order/journal.py",
        lambda: "study_id" in inspect.signature(attribute("optuna.study._frozen", "FrozenStudy")).parameters,
        "read the journal through optuna.load_study, name by name",
    ),
    Private(
        "datasets",
        "_fingerprint",
        "trainable/text/sources/rows_datasets.py",
        lambda: isinstance(attribute("datasets", "Dataset").from_dict({"text": ["a"]})._fingerprint, str),
        "hash the files of the data set instead",
    ),
]


@pytest.mark.parametrize("private", PRIVATE, ids=lambda private: private.name)
def test_a_private_name_exists_and_works_as_the_code_uses_it(private: Private) -> None:
    try:
        there = bool(private.found())
    except Exception:  # a version that lacks the name may raise anything
        there = False
    assert there, (
        f"{private.name} of {private.library} {version(private.library)} is missing or does not work "
        f"as {private.used_in} uses it: {private.otherwise}; until then "
        f"install {private.library}=={TESTED[private.library]}."
    )
    assert private.name in (ROOT / private.used_in).read_text(), (
        f"{private.used_in} no longer uses {private.name}: remove it from PRIVATE"
    )


def private_names() -> Iterator[tuple[str, str]]:
    """Yield (file, name) of imported names, and of attributes of other objects, that begin with one underscore."""
    for folder in ("trainable", "sweeps", "analysis"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    yield from ((file, name.name) for name in node.names if name.name.startswith("_"))
                elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
                    yield from ((file, name) for name in [node.attr] if name.startswith("_") and name[:2] != "__")


def test_every_name_with_an_underscore_that_the_code_uses_is_listed_here() -> None:
    listed = {(private.used_in, private.name) for private in PRIVATE}
    unlisted = {(file, name) for file, name in private_names() if name not in OURS} - listed
    assert not unlisted, f"list them in PRIVATE, with what to do if a version lacks them: {sorted(unlisted)}"
