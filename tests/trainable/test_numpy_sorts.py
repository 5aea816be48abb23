"""On an AMD Zen 4 numpy sorts without AVX-512, whose form is several times slower there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT, child_environment

from trainable import numpy_sorts
from trainable.numpy_sorts import AVX512, VARIABLE, avoid_slow_sorts

ZEN_4 = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nflags\t\t: fpu avx2 avx512f avx512dq avx512_bf16\n"
OTHERS = {
    "Zen 3": ZEN_4.replace(" avx512f avx512dq avx512_bf16", ""),
    "Zen 5": ZEN_4.replace("family\t: 25", "family\t: 26"),
    "Intel": ZEN_4.replace("AuthenticAMD", "GenuineIntel").replace("family\t: 25", "family\t: 6"),
    "no facts": "",
}


@pytest.fixture
def facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the system's facts about its CPU, in a process that has not imported numpy yet."""
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(numpy_sorts, "CPU_FACTS", path)
    monkeypatch.delitem(sys.modules, "numpy")
    monkeypatch.delenv(VARIABLE, raising=False)
    return path


def test_on_a_zen_4_numpy_is_kept_from_avx512(facts: Path) -> None:
    facts.write_text(ZEN_4)
    avoid_slow_sorts()
    assert os.environ.pop(VARIABLE) == AVX512


@pytest.mark.parametrize("cpu", OTHERS)
def test_on_other_cpus_nothing_changes(facts: Path, cpu: str) -> None:
    facts.write_text(OTHERS[cpu])
    avoid_slow_sorts()
    assert VARIABLE not in os.environ


def test_without_facts_nothing_changes(facts: Path) -> None:
    avoid_slow_sorts()
    assert VARIABLE not in os.environ


def test_what_a_user_has_set_stays(facts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts.write_text(ZEN_4)
    monkeypatch.setenv(VARIABLE, "AVX512_ICL")
    avoid_slow_sorts()
    assert os.environ[VARIABLE] == "AVX512_ICL"


def test_after_numpy_is_imported_nothing_changes(facts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts.write_text(ZEN_4)
    monkeypatch.setitem(sys.modules, "numpy", object())
    avoid_slow_sorts()
    assert VARIABLE not in os.environ


@pytest.mark.parametrize("command", [["sweeps/schedule_search.py"], ["-m", "trainable.teacher"]])
def test_a_command_keeps_numpy_from_avx512_before_it_is_imported(tmp_path: Path, command: list[str]) -> None:
    """The command runs under a Python that takes any CPU for a Zen 4, and tells the variable when numpy is imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, os, pathlib, sys\n"
        f"pathlib.Path.read_text = lambda path, *how, **more: {ZEN_4!r} if str(path) == '/proc/cpuinfo' else "
        "open(path, encoding='utf-8').read()\n"
        "class Told:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numpy':\n"
        f"            print('at numpy:', os.environ.get({VARIABLE!r}))\n"
        "            os._exit(0)\n"
        "sys.meta_path.insert(0, Told())\n"
    )
    environment = {key: value for key, value in child_environment().items() if key != VARIABLE}
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{environment.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-u", *command, "--help"], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.stdout == f"at numpy: {AVX512}\n", done.stderr


def test_numpy_knows_the_names_and_leaves_avx512_out() -> None:
    """On a CPU that lacks the instructions numpy ignores the names, so the test says nothing there."""
    shown = "from numpy._core._multiarray_umath import __cpu_features__ as has; print(*map(has.get, %r.split()))"
    before, after = (
        subprocess.run(
            [sys.executable, "-c", shown % AVX512], capture_output=True, text=True, env=os.environ | more, check=True
        ).stdout.split()
        for more in ({VARIABLE: ""}, {VARIABLE: AVX512})
    )
    if before != ["True", "True"]:
        pytest.skip("this CPU has no AVX-512, or this numpy has other names for it")
    assert after == ["False", "False"]
