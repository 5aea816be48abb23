"""The printed command that resumes a run, and the options that --resume accepts beside it."""

import shlex
from pathlib import Path

import pytest

from sweeps.engine.folder import RunFolder
from sweeps.engine.options import check_beside_resume, kept, resume_command
from trainable.errors import InputError


@pytest.mark.parametrize(
    ("typed", "again"),
    [
        ("--corpus a.txt --steps 9", ""),
        ("--address host:6379 --steps 9 --workers-per-trial 2", "--address host:6379 --workers-per-trial 2"),
        ("--steps 9 --gpus_per_trial=0.5 --layers 1 2", "--gpus_per_trial=0.5"),
        ("--export best model --layers 1 2", "--export best model"),
        ("--resume run --cpus 1", "--cpus 1"),
        ("--watch --steps 9", "--watch"),
    ],
)
def test_the_resume_command_repeats_the_options_that_a_run_does_not_record(typed: str, again: str) -> None:
    assert " ".join(kept(typed.split())) == again


def test_the_resume_command_names_a_run_below_the_working_directory_by_its_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sweeps/kfold.py", "--cpus", "1", "--steps", "8"])
    assert (
        resume_command(RunFolder.at(tmp_path / "results" / "run"))
        == "python sweeps/kfold.py --resume results/run --cpus 1"
    )
    for elsewhere in ("/elsewhere/run", "gs://anonymous@bucket/results/kfold/run"):
        assert resume_command(RunFolder.at(elsewhere)) == f"python sweeps/kfold.py --resume {elsewhere} --cpus 1"


@pytest.mark.parametrize("name", ["books [old]", "it's", "a b; rm -rf c", '"x" $HOME `ls`', "*", "~me", "\\", "ü"])
def test_the_resume_command_can_be_pasted_into_a_shell(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, run = f"my studies/{name}.py", tmp_path / name / "run"
    monkeypatch.setattr("sys.argv", [script, "--export", "best", f"a {name}"])
    typed = shlex.split(resume_command(RunFolder.at(run)))
    assert typed == ["python", script, "--resume", str(run), "--export", "best", f"a {name}"]


@pytest.mark.parametrize(
    "words",
    [
        "--resume r",
        "--resume r --dry-run --cpus 2",
        "--resume=r --export best d",
        "--resume r --watch",
        "--resume r --no-watch",
        "--resume r --no-dashboard",
        "--resume r --corpus c --tokenizer t --gpus_per_trial 1",
    ],
)
def test_options_that_a_resumption_uses_are_accepted_beside_resume(words: str) -> None:
    check_beside_resume(words.split())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--resume r --steps 9", "--steps"),
        ("--set=a=1 --resume r", "--set"),
        ("--resume r --train_rows 9", "--train-rows"),
    ],
)
def test_an_option_that_a_resumption_would_ignore_is_refused_by_name(words: str, named: str) -> None:
    with pytest.raises(InputError, match=f"^{named} beside --resume would change nothing"):
        check_beside_resume(words.split())
