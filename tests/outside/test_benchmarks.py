"""Benchmarks in their smallest form: each measures every part and keeps its rows."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from paths import ROOT

BENCHMARKS = ROOT / "tests" / "benchmarks"


def test_the_benchmark_of_a_teacher_that_is_trained_has_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, threads = BENCHMARKS / "model_teacher.py", str(torch.get_num_threads())
    words = ["--smoke-test", "--corpus", "builtin", "--repeats", "1", "--threads", threads]
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [str(script), *words])
    monkeypatch.setattr("record.RESULTS", tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    rows = {row["case"]: row for row in json.loads((tmp_path / "model_teacher.json").read_text())["rows"]}
    for width in (32, 64):
        made = [row for case, row in rows.items() if f"teacher of width {width}" in case]
        assert [row["unit"] for row in made] == ["s", "tokens/s", "s", "tokens/s", "bytes", *["nats"] * 4]
        assert 4 < made[4]["ratio"] < 4.1, "4 bytes for each kept token, and a fixed part of the file"
    steps = [case for case in rows if case.startswith("guided / plain: model's top ")]
    assert [case.split(",")[0].split()[-1] for case in steps] == ["8", "16", "32", "64"]


def test_the_benchmark_of_guided_trainer_has_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate", reason="needs accelerate, which the extra [hf] installs")
    script = BENCHMARKS / "guided_trainer.py"
    words = ["--smoke-test", "--repeats", "1", "--threads", str(torch.get_num_threads())]
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [str(script), *words])
    monkeypatch.setattr("record.RESULTS", tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    rows = json.loads((tmp_path / "guided_trainer.json").read_text())["rows"]
    assert [row["unit"] for row in rows] == ["s a step"] * 3 + ["MiB"] * 2
    assert [row["case"].split(":")[0] for row in rows] == [
        "teacher's share",
        "GuidedTrainer / Trainer",
        "GuidedTrainer / our guided loop",
        "peak memory, GuidedTrainer / Trainer",
        "peak memory, GuidedTrainer / no teacher",
    ]
