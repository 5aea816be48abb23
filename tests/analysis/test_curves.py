"""Command analysis.curves, which draws curves by arm."""

from functools import partial
from pathlib import Path

import pytest
from arm_trials import two_arms
from commands import run_module
from synthetic_run import realistic_run

run_command = partial(run_module, "analysis.curves")


def test_the_command_draws_each_folder_into_a_folder_of_its_own(tmp_path: Path) -> None:
    runs = [realistic_run(tmp_path / name, layers=(1,)) for name in ("a", "b")]
    done = run_command(*map(str, runs), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]
    assert len(done.stdout.splitlines()) == 6


@pytest.mark.parametrize("arguments", [[], ["nowhere"]])
def test_the_command_says_in_one_sentence_what_is_wrong(arguments: list[str]) -> None:
    done = run_command(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_tables_that_lack_a_column_are_an_error_that_names_it(tmp_path: Path) -> None:
    results = two_arms()
    results.trials.drop(columns="loop.steps").to_csv(tmp_path / "trials.csv", index=False)
    results.curves.to_csv(tmp_path / "curves.csv", index=False)
    done = run_command(str(tmp_path))
    assert done.returncode == 2
    assert "lack loop.steps" in done.stderr
