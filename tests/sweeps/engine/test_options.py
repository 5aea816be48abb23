"""What options say: the command that goes on with a run asks for the same machine."""

from pathlib import Path

import pytest

from sweeps.engine.folder import RunFolder
from sweeps.engine.options import kept, resume_command


@pytest.mark.parametrize(
    ("typed", "again"),
    [
        ("--corpus a.txt --steps 9", ""),
        ("--address host:6379 --steps 9 --workers-per-trial 2", "--address host:6379 --workers-per-trial 2"),
        ("--steps 9 --gpus_per_trial=0.5 --layers 1 2", "--gpus_per_trial=0.5"),
        ("--export best model --layers 1 2", "--export best model"),
        ("--resume run --cpus 1", "--cpus 1"),
    ],
)
def test_what_a_run_does_not_remember_is_said_again(typed: str, again: str) -> None:
    assert " ".join(kept(typed.split())) == again


def test_a_run_below_the_working_directory_is_named_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sweeps/kfold.py", "--cpus", "1", "--steps", "8"])
    assert (
        resume_command(RunFolder.at(tmp_path / "results" / "run"))
        == "python sweeps/kfold.py --resume results/run --cpus 1"
    )
    for elsewhere in ("/elsewhere/run", "gs://anonymous@bucket/results/kfold/run"):
        assert resume_command(RunFolder.at(elsewhere)) == f"python sweeps/kfold.py --resume {elsewhere} --cpus 1"
