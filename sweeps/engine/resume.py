"""What to type to go on with a run: the same machine, the run in place of the study's options."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

KEPT = (
    "--export",
    "--address",
    "--workers-per-trial",
    "--cpus-per-trial",
    "--gpus-per-trial",
    "--cpus",
    "--dashboard-host",
)  # options that a run does not remember


def resume_command(run: str) -> str:
    """The command that goes on with a run of this process; `run` is its absolute path or its URI."""
    near = Path(run).is_relative_to(Path.cwd())  # no URI is
    shown = str(Path(run).relative_to(Path.cwd())) if near else run
    return " ".join(["python", sys.argv[0], "--resume", shown, *kept(sys.argv[1:])])


def kept(arguments: Sequence[str]) -> Iterator[str]:
    """The options of KEPT, with their values."""
    keep = False
    for word in arguments:
        if word.startswith("--"):
            keep = word.partition("=")[0].replace("_", "-") in KEPT
        if keep:
            yield word
