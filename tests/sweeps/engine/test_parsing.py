"""Help pages of all studies and commands, completion in bash, and the parsing of options."""

import io
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import cast

import pytest
from paths import ROOT

from sweeps.content import ContentOptions
from sweeps.engine.options import Options
from sweeps.engine.parsing import OWN, groups_of, parsed
from sweeps.schedule_search import SearchOptions

STUDIES = sorted({path.stem for path in (ROOT / "sweeps").glob("*.py")} - {"__init__"})
COMMANDS = [
    "asha_replay",
    "contrasts",
    "curves",
    "kfold_table",
    "published_runs",
    "report",
    "schedule_report",
    "summary",
]


def printed_by(call: Callable[[], object]) -> str:
    """Text that a call prints before it exits, on a stream of 80 columns that can show the lines of boxes."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stream):
        patch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as ended:
            call()
    assert not ended.value.code
    stream.flush()
    return cast(io.BytesIO, stream.buffer).getvalue().decode()


def output_of(module: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """Text that `python -m module` prints with the given words, or with --help."""
    monkeypatch.setattr(sys, "argv", [module, *(words or ["--help"])])
    spec = find_spec(module)
    run = f"{module}.__main__" if spec is not None and spec.submodule_search_locations else module
    monkeypatch.delitem(sys.modules, run, raising=False)  # runpy would warn that the module is loaded already
    return printed_by(lambda: runpy.run_module(module, run_name="__main__"))


def options_under(page: str) -> dict[str, list[str]]:
    """{heading: options below the heading} of a help page."""
    found: dict[str, list[str]] = {}
    for line in page.splitlines():
        if (heading := re.match(r"╭─ (.+?) ─*╮$", line)) is not None:
            found[heading[1]] = []
        elif (option := re.match(r"│ (--[a-z-]+)", line)) is not None:
            found[next(reversed(found))].append(option[1])
    return found


@pytest.mark.parametrize("name", STUDIES)
def test_the_help_of_a_study_groups_its_options_and_fits_80_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = output_of(f"sweeps.{name}", monkeypatch)
    assert "{None}" not in page and "default: None" not in page and "default: )" not in page
    assert [line for line in page.splitlines() if len(line) > 80] == []
    assert [text for text in page.split("│ --")[1:] if text.count("default") != 1] == []
    found = options_under(page)
    own = "search" if name == "schedule_search" else "comparison"
    groups = ("data", "model and run", own, "where", "instead of a run")
    assert list(found) == ["options", *(f"{group}: options" for group in groups)]
    assert found["options"] == [] and all(found[f"{group}: options"] for group in groups)


@pytest.mark.parametrize("module", [*(f"analysis.{name}" for name in COMMANDS), "trainable.teacher"])
def test_the_help_of_a_command_names_each_default_once(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = output_of(module, monkeypatch)
    assert "usage:" in page
    assert "{None}" not in page and "default: None" not in page and "default: )" not in page
    assert [text for text in page.split("│ --")[1:] if text.count("(default") + text.count("(required") != 1] == []


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_a_command_that_prints_its_completion_for_bash(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = ROOT / "sweeps" / f"{name}.py"
    assert os.access(script, os.X_OK) and script.read_text(encoding="utf-8").startswith("#!/usr/bin/env python\n")
    printed = output_of(f"sweeps.{name}", monkeypatch, "--tyro-print-completion", "bash")
    assert "'--corpus'" in printed and "complete -F " in printed


def test_bash_completes_the_options_of_a_study() -> None:
    """Ask as readline does: the function for the command reads COMP_WORDS and writes its answer to COMPREPLY."""
    asks = (
        f'eval "$({sys.executable} sweeps/kfold.py --tyro-print-completion bash)"; COMP_WORDS=(sweeps/kfold.py --co); '
        'COMP_CWORD=1; ask=($(complete -p sweeps/kfold.py)); "${ask[2]}"; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", asks], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["--corpus", "--column"], done.stderr


def test_options_of_all_groups_are_parsed() -> None:
    words = "--corpus a.txt --steps 9 --set loop.precision=float32 --layers 3 1 --no-asha --cpus_per_trial 2 --dry-run"
    wanted = {"corpus": "a.txt", "steps": 9, "set": ("loop.precision=float32",), "layers": (3, 1), "asha": False}
    assert parsed(SearchOptions, None, words.split()) == SearchOptions(**wanted, cpus_per_trial=2, dry_run=True)  # type: ignore[arg-type]
    assert parsed(ContentOptions, None, ["--gate", "run", "--arms", "a b"]) == ContentOptions(gate="run", arms=("a b",))


def test_the_groups_have_every_option_once() -> None:
    for options_type in (Options, SearchOptions, ContentOptions):
        names = [name for group in groups_of(options_type).values() for name in group]
        assert sorted(names) == sorted(field.name for field in fields(options_type))


@dataclass(frozen=True, kw_only=True)
class UsersOptions(Options):
    """Options of a study that a user has written; the class names no heading for its option."""

    dose: int = 3
    """milligrams"""


def test_an_option_that_a_user_adds_is_listed_under_the_heading_of_this_study() -> None:
    assert parsed(UsersOptions, None, ["--dose", "4", "--steps", "5"]) == UsersOptions(dose=4, steps=5)
    page = printed_by(lambda: parsed(UsersOptions, None, ["--help"]))
    assert options_under(page)[f"{OWN}: options"] == ["--dose"] and "milligrams (default: 3)" in page


def test_an_unknown_option_ends_with_status_2_and_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(SearchOptions, None, ["--layrs", "1"])
    assert ended.value.code == 2
    assert "--layers INT ..." in capsys.readouterr().err
