"""The project's commands in this process: `python -m MODULE ...` without starting another Python."""

import io
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec

import pytest


def run_module(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Text that `python -m module arguments` prints, and its exit status."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", [module, *arguments])
        spec = find_spec(module)
        run = f"{module}.__main__" if spec is not None and spec.submodule_search_locations else module
        patch.delitem(sys.modules, run, raising=False)  # runpy warns of a module that it runs again
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess([module, *arguments], status, out.getvalue(), err.getvalue())
