"""The house: which folder may import which, and no file names a path of the machine that made it."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pandas as pd
import pytest
from paths import ROOT

PACKAGES = ("trainable", "sweeps", "analysis")
# Rooms (folders or modules) of trainable/ from the ground floor up: a room imports from its own floor and those below.
FLOORS = (
    ("names", "errors", "imports", "numpy_sorts"),
    ("record",),
    ("text",),
    ("teacher",),
    ("config",),
    ("plan", "student"),
    ("small_teacher", "loops"),
    ("shared_data", "prepare"),
    ("gauges", "data_parallel", "trial", "table_words", "table_command"),
)
KNOW_RAY = {"trainable.trial", "trainable.gauges", "trainable.data_parallel"}
LIGHT = {"trainable.names", "trainable.errors", "trainable.record"}  # what analysis/ may import of trainable/
HEAVY = {"ray", "torch", "transformers", "tokenizers", "datasets"}


def modules() -> dict[str, Path]:
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    parts = {path: path.relative_to(ROOT).with_suffix("").parts for path in paths}
    return {".".join(part for part in parts[path] if part != "__init__"): path for path in paths}


MODULES = modules()


def imports(module: str) -> Iterator[str]:
    """Names of modules that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in inner)


def floor(module: str) -> int:
    """Number of the floor of trainable/ on which a module lies; __init__.py and __main__.py lie above all floors."""
    if module == "trainable" or module.endswith(".__main__"):
        return len(FLOORS)
    room = module.split(".")[1]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_lies_below_it(module: str) -> None:
    package, found = module.split(".")[0], sorted(set(imports(module)))
    ours = [name for name in found if name.split(".")[0] in PACKAGES]
    if package == "analysis":
        assert [
            one for one in ours if not one.startswith("analysis") and ".".join(one.split(".")[:2]) not in LIGHT
        ] == []
        assert HEAVY.isdisjoint(name.split(".")[0] for name in found)
    if package == "trainable":
        assert [name for name in ours if not name.startswith("trainable") and module != "trainable"] == []
        assert [name for name in ours if name.startswith("trainable.") and floor(name) > floor(module)] == []
        assert module in KNOW_RAY or "ray" not in {name.split(".")[0] for name in found}


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {module: {name for name in imports(module) if name in MODULES and name != module} for module in MODULES}
    graph["trainable"] = set()  # it imports only on demand, inside functions
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


MACHINE = re.compile(r"(?<![\w.~$}-])/(work|root|Users|home(?!/(?:ray|me)/))/\w")  # except in Ray's image
MACHINE_OR_TMP = re.compile(r"(?<![\w.~$}-])/(work|root|Users|home|tmp|mnt)/\w")
PACKED = re.compile(r'<script type="application/octet-stream".*?</script>', re.DOTALL)  # plotly.js in a page
TEXTS = {".md", ".py", ".json", ".jsonl", ".csv", ".html", ".toml", ".yaml", ".sh", ".jinja", ".txt", ""}


def text_files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in TEXTS]
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def told(path: Path, pattern: re.Pattern[str]) -> list[str]:
    text = PACKED.sub("", path.read_text(encoding="utf-8", errors="replace"))
    ends = [(max(one.start() - 20, 0), one.end() + 30) for one in pattern.finditer(text)]
    return [f"{path.relative_to(ROOT)}: {text[start:end]!r}" for start, end in ends]


def test_no_file_names_a_path_of_the_machine_that_made_it() -> None:
    files = [*text_files(*PACKAGES, "tests", ".ci"), *ROOT.glob("*.md"), *ROOT.glob("*.toml")]
    assert [line for path in files for line in told(path, MACHINE)] == []


@pytest.mark.parametrize("kept", ["record", "benchmarks", "published"])
def test_what_is_kept_of_results_names_files_by_their_own_name(kept: str) -> None:
    """Only folders that git keeps are read: the others in results/ are a user's own runs."""
    assert [line for path in text_files(f"results/{kept}") for line in told(path, MACHINE_OR_TMP)] == []
    for path in (ROOT / "results" / kept).rglob("*.parquet"):
        table = pd.read_parquet(path)
        texts = {value for column in table for value in table[column].unique() if isinstance(value, str)}
        assert [text for text in sorted(texts) if MACHINE_OR_TMP.search(text)] == [], path
