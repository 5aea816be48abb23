"""The folder of this checkout, and the environment in which child processes find it and tests/support."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = ROOT / "tests" / "support"


def child_environment(**more: str) -> dict[str, str]:
    """This process's environment with `more`, with the project and tests/support on the path, without a Ray to join."""
    inherited = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return inherited | {"PYTHONPATH": f"{ROOT}{os.pathsep}{SUPPORT}"} | more
