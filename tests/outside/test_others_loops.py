"""Other training loops with a teacher, as in trainable/README.md: torchrun with two processes, Lightning, TRL."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loops_on_ranks import examples
from paths import SUPPORT, child_environment

from trainable.loops.guided_trainer import GuidedTrainer
from trainable.teacher.kneser_ney import estimate_ngrams
from trainable.teacher.ngram_counts import count_ngrams
from trainable.teacher.ngram_table_file import save_ngrams

V, EOS = 40, 2


@pytest.fixture(scope="module")
def alone_and_together(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Results of one process, and of two processes with half of each batch each."""
    folder = tmp_path_factory.mktemp("ranks")
    stream_N = (np.random.default_rng(0).zipf(1.3, 4000) % (V - 1)).astype(np.uint16)
    table = estimate_ngrams(count_ngrams(stream_N, V, 3, eos_id=EOS), tokenizer_fingerprint="abc")
    save_ngrams(table, folder / "table.ngrams")
    for launcher in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]):
        command = [sys.executable, *launcher, str(SUPPORT / "loops_on_ranks.py"), str(folder)]
        environment = child_environment() | {"CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"found-{size}.pt") for size in (1, 2)]


@pytest.mark.parametrize("loop", ["plain", "trainer"])
def test_two_processes_under_torchrun_train_as_one_does(alone_and_together: list[dict[str, Any]], loop: str) -> None:
    """The gradient through the teacher is averaged as well, and the targets of all processes are counted."""
    alone, together = (found[loop] for found in alone_and_together)
    for name, expected in alone.items():
        torch.testing.assert_close(
            together[name], expected, atol=2e-6, rtol=1e-4, msg=lambda said, name=name: name + said
        )


def test_a_trainer_of_two_processes_logs_the_losses_of_one(alone_and_together: list[dict[str, Any]]) -> None:
    alone, together = (found["losses"] for found in alone_and_together)
    assert len(alone) == 8
    assert together == pytest.approx(alone, abs=1e-5)
    assert alone[-1] < alone[0] - 0.1


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the Python examples of trainable/README.md up to GuidedTrainer; return the names that they define."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGRAM_CACHE", str(tmp_path / "home"))
    names: dict[str, Any] = {}
    for example in examples("python"):
        exec(compile(example, "an example of trainable/README.md", "exec"), names)
        if "save_table(" in example:  # stands in for the command of the README that makes a table
            shutil.copy("teacher.bigram", "table.bigram")
        if "trainable.GuidedTrainer(" in example:
            return names
    raise AssertionError("trainable/README.md has no example of GuidedTrainer")


def run_example(language: str, names: dict[str, Any]) -> None:
    [example] = examples(language)
    exec(compile(example, f"{language} in trainable/README.md", "exec"), names)


def test_the_example_of_lightning_learns(session: dict[str, Any]) -> None:
    pytest.importorskip("lightning", reason="needs lightning: pip install lightning")
    run_example("python lightning", session)
    guided, ids_BxT = session["guided"], session["batches"][0, 0]
    assert guided.trainer.global_step == 20
    hidden_NxD = guided.student(ids_BxT[:, :-1]).flatten(0, 1)
    loss = torch.nn.functional.cross_entropy(guided.student.head(hidden_NxD), ids_BxT[:, 1:].flatten())
    assert loss.item() < np.log(session["table"].vocab_size) - 0.3


def test_the_example_of_trl_packs_texts_and_trains_with_the_teacher(session: dict[str, Any]) -> None:
    pytest.importorskip("trl", reason="needs trl: pip install trl")
    run_example("python trl", session)
    sft = session["sft"]
    assert isinstance(sft, GuidedTrainer)
    logs = [row for row in sft.state.log_history if "loss" in row]
    assert [row["teacher_weight"] for row in logs] == pytest.approx([5 / 6, 3 / 6, 1 / 6, 0.0])
    assert logs[-1]["loss"] < logs[0]["loss"]
    batch = next(iter(sft.get_train_dataloader()))
    assert (batch["position_ids"] == 0).sum() > len(batch["input_ids"]), "no row has several texts"
