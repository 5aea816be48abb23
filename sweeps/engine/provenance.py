"""Record where a result comes from: versions, commit, hardware, command. Kept with each run, and free of secrets."""

import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sweeps.engine.preflight import usable_cpus
from trainable.record.run_record import own_name

_PACKAGES = ("ray", "torch", "transformers", "tokenizers", "datasets", "optuna", "pandas", "numpy", "pyarrow")

_SECRET_VARIABLE = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIAL", re.IGNORECASE)
_SECRET = re.compile(
    r"(?<=://)[^/@\s]+(?=@)"  # user:password@ of an address
    r"|\bhf_\w{8,}"  # a token of the Hugging Face hub
    r"|(?<=token=)[^&\s]+|(?<=key=)[^&\s]+|(?<=secret=)[^&\s]+|(?<=password=)[^&\s]+",  # parameters of a query
    re.IGNORECASE,
)


def provenance() -> dict[str, Any]:
    """Versions, git commit, hardware and command of this process, under their keys in run.json."""
    return {"versions": versions(), "git_commit": git_commit(), "hardware": hardware(), "command": command()}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that are installed (a machine that only trains may lack some)."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def command() -> list[str]:
    """The command line as typed, without secrets, and with file names that say nothing about this machine."""
    return ["python", *(own_name(without_secrets(word), Path.cwd()) for word in sys.argv)]


def without_secrets(text: str) -> str:
    """`text` with "***" for passwords in addresses, tokens of the hub, and values of secret environment variables."""
    for name, value in os.environ.items():
        if _SECRET_VARIABLE.search(name) and len(value) >= 8:  # a shorter value may be part of ordinary words
            text = text.replace(value, "***")
    return _SECRET.sub("***", text)


def git_commit() -> str | None:
    """Commit of this file's checkout, with "+changes" if tracked files differ from it; None outside of git."""
    root = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict[str, Any]:
    """CPUs that the driver may use; processor, memory, GPUs and system of its machine."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpus": usable_cpus(),
        "cpu": _cpu_name(),
        "memory_gib": round(memory, 1),
        "gpus": gpus,
        "system": platform.platform(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
