"""A failure to print never ends a command: a closed or full output, or an encoding that lacks a letter."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from paths import ROOT

CODE = """
import sys
from pathlib import Path
from rich.console import Console
from trainable.record.printing import steady_output
with steady_output():
    console = Console(width=100)
    for i in range(3000):
        console.print(f"line {i} \\u4f60 \\xe9")
    print("to stderr", file=sys.stderr)
    opened = open(sys.argv[1], "w")  # must not become standard output
    print("not into the file")
    opened.write("done")
    opened.close()
"""


def run(tmp_path: Path, shell: str, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run CODE in bash with its output redirected as `shell` says; the exit status is that of CODE."""
    command = f'"$0" -c "$1" "$2" {shell}'
    words = ["bash", "-c", command, sys.executable, CODE, str(tmp_path / "file")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | dict(more or {})
    return subprocess.run(words, capture_output=True, text=True, errors="replace", env=environment)


@pytest.mark.parametrize("shell", [">&-", ">&- 2>&- <&-", "> /dev/full", "| head -1; exit ${PIPESTATUS[0]}"])
def test_an_output_that_fails_does_not_change_the_result(tmp_path: Path, shell: str) -> None:
    done = run(tmp_path, shell)
    assert done.returncode == 0 and (tmp_path / "file").read_text() == "done"
    assert "rror" not in done.stderr
    assert done.stdout.count("\n") == ("head" in shell)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_letters_that_an_encoding_lacks_are_written_as_their_code_points(tmp_path: Path, encoding: str) -> None:
    done = run(tmp_path, "", {"PYTHONIOENCODING": encoding, "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("line 0 \\u4f60 ") and "line 2999" in done.stdout
