"""Importing a module changes nothing in the process: changes are made by functions that a command calls."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

# Allowed calls: each checks, before any other import, that Python finds this project's packages, not a user's files.
CHECKS = {"analysis/__init__.py": "require_own", "sweeps/__init__.py": "_require_own"}
MODULES = [path for folder in ("trainable", "sweeps", "analysis") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_has_a_bare_call_or_changes_another_object_at_its_top_level(path: Path) -> None:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    calls = [ast.unparse(line) for line in body if isinstance(line, ast.Expr) and isinstance(line.value, ast.Call)]
    changes = [
        ast.unparse(line)
        for line in body
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Attribute | ast.Subscript)
    ]
    check = CHECKS.get(path.relative_to(ROOT).as_posix())
    assert [call for call in calls if check is None or not call.startswith(f"{check}(")] + changes == []


def test_importing_the_search_leaves_optunas_log_level_unchanged() -> None:
    code = "import optuna, sweeps.engine.order.search; print(optuna.logging.get_verbosity() == optuna.logging.INFO)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "True\n", done.stderr
