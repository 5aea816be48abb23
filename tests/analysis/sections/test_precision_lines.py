"""A report says in which precision its trials trained, and warns if their precisions differ."""

from collections.abc import Callable
from pathlib import Path

import pytest
from comparisons import comparison
from synthetic_groups import groups_run

from analysis.contrasts import main as contrasts
from analysis.kinds import sections
from analysis.results import read_findings
from analysis.sections.run_sections import mixed_precisions
from trainable import names
from trainable.record.files import read_json, write_json

MIXED = "Trials have different precisions"


def lines_of(run: Path, title: str) -> tuple[str, ...]:
    (found,) = [section for section in sections(read_findings(run)) if section.title == title]
    return found.lines


def in_precision(run: Path, precision: str, trial: str = "*") -> None:
    """Write a precision into the settings of a run's trials."""
    for path in run.glob(f"{names.TRIALS_FOLDER}/{trial}/{names.TRIAL_FILE}"):
        facts = read_json(path)
        facts["config"]["loop"]["precision"] = precision
        write_json(path, facts)


@pytest.mark.parametrize("make", [comparison, groups_run])
def test_the_setting_says_the_precision_and_why_auto_took_it(make: Callable[[Path], Path], tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    assert "Precision: matrix products in float32." in lines_of(run, "Setting")
    in_precision(run, "bfloat16")
    write_json(run / names.RUN_FILE, read_json(run / names.RUN_FILE) | {"precision_from": "the CPU has AMX"})
    assert (
        "Precision: matrix products in bfloat16, weights and their updates in float32; loop.precision=auto chose it, "
        "because the CPU has AMX."
    ) in lines_of(run, "Setting")
    assert MIXED not in "".join(lines_of(run, "Not controlled"))


def test_trials_of_different_precisions_are_compared_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = comparison(tmp_path / "run", seeds=2)
    in_precision(run, "bfloat16", "none-L1-s0")
    (told,) = [line for line in lines_of(run, "Not controlled") if line.startswith(MIXED)]
    others = "linear-T90-min0-L1-s0, linear-T90-min0-L1-s1, none-L1-s1"
    assert told == (
        f"{MIXED} (bfloat16 in none-L1-s0; float32 in {others}): a difference between them may come from rounding."
    )
    assert "matrix products in bfloat16 and float32" in "".join(lines_of(run, "Setting"))
    contrasts(run, format="markdown")
    assert told in capsys.readouterr().out


def test_missing_precisions_give_no_warning(tmp_path: Path) -> None:
    """Tables without the column loop.precision, such as the published ones, or with a missing value give no warning."""
    trials = read_findings(comparison(tmp_path / "run")).results.trials
    assert mixed_precisions(trials.drop(columns="loop.precision")) == []
    assert mixed_precisions(trials.assign(**{"loop.precision": [None, *trials["loop.precision"][1:]]})) == []
