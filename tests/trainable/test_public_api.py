"""`import trainable` is light and complete, and every example of trainable/README.md runs."""

import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import run_module
from paths import ROOT

import trainable
from trainable.config import LoopConfig, OptimizerConfig, TeacherConfig
from trainable.loops.found_schedule import FoundSchedule, save_schedule
from trainable.teacher.schedules import SCHEDULES

PAGE = Path(trainable.__file__).with_name("README.md").read_text(encoding="utf-8")
COMMAND = "python -m trainable.teacher "
BLOCKS = re.findall(r"^```(python|bash)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLES = [text for kind, text in BLOCKS if kind == "python"]
SHORTER = ["--tokenizer", "train:512", "--train-rows", "1000", "--eval-rows", "100", "--no-cost"]
FOUND = FoundSchedule(  # as --export writes a schedule
    teacher=TeacherConfig(schedule="linear", steps=4),
    optimizer=OptimizerConfig(warmup_steps=2),
    loop=LoopConfig(steps=8, batch_blocks=8, eval_every=4, checkpoint_every=4),
    context=32,
    tokenizer_fingerprint="abc",
    study="some",
    run="run",
    trial="linear-s0",
    eval_loss=4.5,
)


def imported_by(code: str) -> set[str]:
    """Names of the modules that a new Python process has imported after it ran the code."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    found = imported_by("import trainable; dir(trainable)")
    assert "trainable" in found
    assert not {"torch", "ray", "pandas", "numpy", "transformers", "trainable.config", "analysis"} & found


def test_the_function_that_loads_results_imports_neither_torch_nor_ray() -> None:
    found = imported_by("import trainable; trainable.load")
    assert "analysis.results" in found
    assert not {"torch", "ray"} & found


def test_the_functions_that_make_and_read_a_table_import_neither_torch_nor_ray_nor_pandas() -> None:
    found = imported_by("from trainable import count_bigrams, estimate_table, load_table, teacher_weight")
    assert "trainable.teacher.smoothing" in found
    assert not {"torch", "ray", "pandas"} & found


def test_every_public_name_exists_and_is_listed_and_has_an_example() -> None:
    for name in trainable.__all__:
        assert getattr(trainable, name).__name__ == name
        assert name in dir(trainable)
        assert any(f"trainable.{name}(" in example for example in EXAMPLES) or name in {
            "Guidance",
            "RowTeacher",
            "Teacher",
        }, name
    assert set(trainable.__all__) == set(trainable._HOMES)


@pytest.mark.parametrize("name", trainable.__all__)
def test_every_docstring_names_each_argument(name: str) -> None:
    """The docstring of a public function names each argument, and every public docstring has over 100 characters."""
    public = getattr(trainable, name)
    given = inspect.signature(public).parameters if inspect.isfunction(public) else []
    assert [one for one in given if not re.search(rf"\b{one}\b", public.__doc__)] == []
    assert len(public.__doc__) > 100, public.__doc__


def test_an_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'trainable' has no attribute 'Techer'"):
        trainable.Techer  # noqa: B018


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Use one torch thread: on a busy machine several threads of a small matrix product wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_the_examples_of_the_page_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGRAM_CACHE", str(tmp_path / "home"))
    monkeypatch.setattr("trainable.teacher.schedules.SCHEDULES", dict(SCHEDULES))  # an example adds a schedule
    save_schedule(FOUND, tmp_path / "model")
    session: dict[str, Any] = {}
    for number, (kind, example) in enumerate(BLOCKS):
        if kind == "python":
            exec(compile(example, f"example {number} of trainable/README.md", "exec"), session)
        elif example.startswith(COMMAND):
            done = run_module("trainable.teacher", *shlex.split(example.removeprefix(COMMAND)), *SHORTER)
            assert (done.returncode, done.stderr) == (0, "")
    assert session["losses"][-1] < session["losses"][0]
    guided = session["teacher"].guide(session["student"].head.weight, session["batches"][0], 1.0)
    assert isinstance(guided, trainable.Guidance)
    assert session["trainer"].args.max_steps == 8
    assert [report["step"] for report in session["reports"]] == [0, 4, 8]
    assert capsys.readouterr().out.splitlines()[0].isdigit()
