"""The tiers of the tests (tests/README.md): what `pytest`, `pytest -m faults` and a path run; the place of helpers."""

import ast
import re
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from paths import ROOT, SUPPORT

TESTS = ROOT / "tests"
ARGS = pytest.Config.ArgsSource.ARGS


@pytest.fixture
def conftest(request: pytest.FixtureRequest) -> ModuleType:
    plugin = request.config.pluginmanager.get_plugin(str(TESTS / "conftest.py"))
    assert isinstance(plugin, ModuleType)
    return plugin


def chosen(conftest: ModuleType, markexpr: str = "", source: Any = None, **more: Any) -> tuple[str, Any]:
    """(-m, processes) after the command line has been read."""
    option = SimpleNamespace(markexpr=markexpr, numprocesses=None)
    conftest.pytest_cmdline_main(SimpleNamespace(option=option, args_source=source, **more))
    return option.markexpr, option.numprocesses


def test_pytest_alone_runs_neither_faults_nor_outside_and_uses_all_cores(conftest: ModuleType) -> None:
    assert chosen(conftest) == ("not faults and not outside", "auto")


@pytest.mark.parametrize("asked", [{"markexpr": "faults"}, {"source": ARGS}], ids=["-m", "path"])
def test_a_marker_or_a_path_runs_what_it_asks_for_one_after_the_other(
    conftest: ModuleType, asked: dict[str, Any]
) -> None:
    assert chosen(conftest, **asked) == (asked.get("markexpr", ""), None)


def test_a_process_of_xdist_chooses_the_same_tests_and_starts_no_processes(conftest: ModuleType) -> None:
    assert chosen(conftest, workerinput={}) == ("not faults and not outside", None)


def test_tests_of_a_tier_lie_in_the_folder_of_its_name(conftest: ModuleType) -> None:
    assert conftest.TIERS == ("faults", "outside")
    for tier in conftest.TIERS:
        assert list((TESTS / tier).glob("test_*.py"))


def test_files_that_use_the_shared_ray_or_the_shared_sweep_go_to_one_process(conftest: ModuleType) -> None:
    uses = re.compile(r"\b(one_ray|ray_address|finished): |usefixtures\(\"one_ray\"\)")
    files = [path for path in TESTS.rglob("test_*.py") if uses.search(path.read_text(encoding="utf-8"))]
    assert sorted(path.relative_to(ROOT).as_posix() for path in files) == sorted(conftest.SHARE_RAY)


def test_no_test_module_imports_another_and_helpers_lie_in_support() -> None:
    modules = {path.stem for path in TESTS.rglob("test_*.py")}
    helpers = {path.stem for path in SUPPORT.glob("*.py")}
    assert not helpers & modules
    for path in TESTS.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
        imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        assert not imported & modules, path
        assert not any(str(name).startswith("tests") for name in imported), path


def test_the_list_of_faults_names_tests_that_exist() -> None:
    """The page names `test_file.py`, or `test_file.py::test_name...` with the beginning of a name."""
    named = re.findall(r"`(test_\w+\.py)(?:::(\w+))?", (TESTS / "README.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    texts: dict[str, list[str]] = {}  # by file name, which files of several folders may share
    for path in TESTS.rglob("test_*.py"):
        texts.setdefault(path.name, []).append(path.read_text(encoding="utf-8"))
    for file, test in named:
        assert any(f"def {test}" in text for text in texts.get(file, ())), f"{file}::{test}"
