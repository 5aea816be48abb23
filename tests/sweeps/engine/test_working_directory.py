"""A working directory that was removed (a job's folder, a lost disk) is reported in one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT, child_environment


@pytest.mark.parametrize(
    "command",
    [[str(ROOT / "sweeps" / "kfold.py"), "--dry-run", "--smoke-test"], ["-m", "analysis.summary", str(ROOT)]],
    ids=["a study", "an analysis command"],
)
def test_a_removed_working_directory_is_reported_in_one_sentence(tmp_path: Path, command: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=gone,
        env=child_environment(),
        capture_output=True,
        text=True,
        preexec_fn=gone.rmdir,
    )
    assert done.returncode == 2
    assert done.stderr == "error: the working directory has been removed: change to one that exists.\n"
