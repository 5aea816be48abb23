"""The command line: help and plan without Ray, and a user's mistake told in one sentence that leaves nothing behind."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_corpus import small_sentences

from sweeps.engine.cli import USAGE_ERROR, main
from sweeps.schedule_search import SearchOptions, schedule_search

PROJECT = Path(__file__).resolve().parents[1]
SCRIPT = str(PROJECT / "sweeps" / "schedule_search.py")
SMALL = ["--corpus", "small.txt", "--tokenizer", "train:512", "--train-rows", "400", "--eval-rows", "100"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with a small corpus, a cache of its own, no colours, and no Ray."""
    (tmp_path / "small.txt").write_text("".join(f"{line}\n" for line in small_sentences()), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGRAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


def call(*arguments: str) -> int:
    return main(schedule_search, SearchOptions, "The study.", list(arguments))


def test_help_needs_neither_ray_nor_torch_and_takes_a_moment() -> None:
    code = f"import runpy, sys; sys.argv = ['x', '--help']\ntry: runpy.run_path({SCRIPT!r}, run_name='__main__')\n\
except SystemExit: print(sorted({{'ray', 'torch', 'transformers', 'datasets'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert "--num-samples" in done.stdout and done.stdout.endswith("[]\n")


def test_dry_run_shows_the_plan_and_runs_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*SMALL, "--layers", "1", "3", "--num-samples", "5", "--dry-run") == 0
    plan = capsys.readouterr().out
    assert "depths 1, 3" in plan
    assert "none-L1-s0, none-L3-s0, none-L1-s1" in plan
    assert "5 of 165 schedules at each depth by optuna, judged by ASHA at step 48" in plan
    assert "at most 24 trials, 2,304 trial-steps (the full grid: 31,872)" in plan
    assert sorted(path.name for path in workplace.iterdir()) == ["small.txt"]


def test_dry_run_starts_no_ray() -> None:
    code = f"import runpy, sys; sys.argv = ['x', '--dry-run', *{SMALL!r}]\n\
try: runpy.run_path({SCRIPT!r}, run_name='__main__')\n\
except SystemExit as end: print(end.code, sorted({{'ray', 'torch'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("0 []\n"), done.stderr


def latin(folder: Path) -> list[str]:
    (folder / "latin.txt").write_bytes("façade\n".encode("latin-1") * 500)
    return ["--corpus", "latin.txt", "--train-rows", "300", "--eval-rows", "50"]


def other_columns(folder: Path) -> list[str]:
    pq.write_table(pa.table({"title": ["a"], "body": ["b"]}), folder / "books.parquet")
    return ["--corpus", "books.parquet"]


def damaged(folder: Path) -> list[str]:
    (folder / "books.parquet").write_bytes(b"PAR1 no more")
    return ["--corpus", "books.parquet"]


def unknown_suffix(folder: Path) -> list[str]:
    (folder / "books.docx").write_text("text")
    return ["--corpus", "books.docx"]


def few_words(folder: Path) -> list[str]:
    (folder / "few.txt").write_text("a word\n" * 10)
    return ["--corpus", "few.txt", "--tokenizer", "train:512", "--train-rows", "8", "--eval-rows", "2"]


def model(**settings: object) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        (folder / "llama").mkdir()
        (folder / "llama" / "config.json").write_text(json.dumps(settings))
        return [*SMALL, "--set", "tokens.context=32", "--model", "llama"]

    return write


def model_without_config(folder: Path) -> list[str]:
    (folder / "llama").mkdir()
    return [*SMALL, "--model", "llama"]


def results_are_a_file(folder: Path) -> list[str]:
    (folder / "taken").write_text("")
    return [*SMALL, "--results", "taken"]


def says(*arguments: str) -> Callable[[Path], list[str]]:
    return lambda folder: list(arguments)


LLAMA = {"model_type": "llama", "hidden_size": 32, "num_attention_heads": 4, "vocab_size": 4096}
MISTAKES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "missing corpus": (says("--corpus", "nowhere.parquet"), "'nowhere.parquet' does not exist"),
    "no text column": (other_columns, "has no column 'text': set corpus.column to one of 'title', 'body'"),
    "no such column": (says("--corpus", "builtin", "--column", "body"), "no column 'body'"),
    "damaged parquet": (damaged, "books.parquet"),
    "unknown suffix": (unknown_suffix, "unknown ending '.docx'"),
    "not UTF-8": (latin, "is not UTF-8"),
    "too few rows": (says("--corpus", "small.txt", "--train-rows", "5000"), "needs 5,000 rows"),
    "no rows asked": (says(*SMALL, "--eval-rows", "0"), "eval_rows is 0"),
    "too few words": (few_words, "fewer than one block of 128"),
    "hub out of reach": (says("--corpus", "nobody/nothing"), "hub is out of reach: give corpus.source"),
    "tokenizer size": (says(*SMALL, "--tokenizer", "train:abc"), "tokens.tokenizer is 'train:abc'"),
    "tokenizer folder": (says(*SMALL, "--tokenizer", "."), "has no tokenizer.json"),
    "tokenizer missing": (says(*SMALL, "--tokenizer", "./none"), "'./none' does not exist"),
    "no layers": (says(*SMALL, "--layers", "0"), "different depths of at least 1"),
    "layers twice": (says(*SMALL, "--layers", "1", "1"), "different depths"),
    "no samples": (says(*SMALL, "--num-samples", "0"), "num_samples is 0"),
    "more samples than schedules": (says(*SMALL, "--num-samples", "999"), "only 165 different schedules"),
    "no steps": (says(*SMALL, "--steps", "0"), "loop.steps is 0"),
    "schedule past the run": (says(*SMALL, "--schedule-steps", "20", "200", "20"), "longest schedule has 200 steps"),
    "empty range": (says(*SMALL, "--schedule-steps", "40", "20", "10"), "range 40..20 by 10 is empty"),
    "floor over 1": (says(*SMALL, "--min-weight", "0", "1.5", "0.5"), "give weights between 0 and 1"),
    "early rung": (says(*SMALL, "--grace-period", "20"), "inside the longest schedule"),
    "rung at 0": (says(*SMALL, "--grace-period", "0"), "inside the longest schedule"),
    "rung between evaluations": (says(*SMALL, "--grace-period", "70"), "not evaluation steps"),
    "rung past the run": (says(*SMALL, "--grace-period", "500"), "nothing could be stopped"),
    "reduction factor": (says(*SMALL, "--reduction-factor", "1"), "reduction factor is 1"),
    "control as schedule": (says(*SMALL, "--schedules", "none", "linear"), "which is the control"),
    "schedule twice": (says(*SMALL, "--schedules", "linear", "linear"), "repeats a value"),
    "unknown setting": (says(*SMALL, "--set", "optimizer.lrr=1"), "Did you mean 'optimizer.lr'?"),
    "unknown group": (says(*SMALL, "--set", "typo.key=1"), "there is no setting 'typo.key'"),
    "no value": (says(*SMALL, "--set", "optimizer.lr"), "write key=value"),
    "value of a wrong type": (says(*SMALL, "--set", "optimizer.lr=fast"), "optimizer.lr is 'fast'"),
    "value out of range": (says(*SMALL, "--set", "optimizer.lr=-1"), "give a positive learning rate"),
    "value that is no number": (says(*SMALL, "--set", "optimizer.lr=nan"), "optimizer.lr is nan"),
    "confirmed by its own seed": (says(*SMALL, "--seed", "1", "--confirm-seeds", "1"), "not confirmed by the seed"),
    "no run to resume": (says("--resume", "."), "is not a run"),
    "results are a file": (results_are_a_file, "cannot be made"),
    "no CPU": (says(*SMALL, "--cpus-per-trial", "0"), "--cpus-per-trial is 0"),
    "model missing": (says(*SMALL, "--model", "llama"), "neither tiny nor small-llama2 nor a folder with config.json"),
    "model without config": (model_without_config, "nor a folder with config.json"),
    "model of another kind": (model(model_type="gpt2"), "only 'llama' can be trained"),
    "model too narrow": (model(**LLAMA | {"vocab_size": 100}), "vocab_size 100"),
    "model narrower than the tokenizer": (model(**LLAMA | {"vocab_size": 300}), "vocab_size 300"),
    "model of odd heads": (model(**LLAMA | {"hidden_size": 30}), "mend its config.json"),
    "model of words": (model(**LLAMA | {"hidden_size": "wide"}), "config.json"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_told_in_one_sentence_and_leaves_no_run(
    mistake: str, workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweeps.engine import run

    def no_ray(*_: object) -> None:
        raise AssertionError("Ray would have been started")

    monkeypatch.setattr(run, "start_ray", no_ray)
    arguments, reason = MISTAKES[mistake]
    started = time.monotonic()
    status = call("--train-rows", "400", "--eval-rows", "100", *arguments(workplace))
    seconds = time.monotonic() - started
    told = capsys.readouterr().err
    assert status == USAGE_ERROR
    assert told.startswith("error: ") and told.count("\n") == 1 and told.rstrip()[-1] in ".?"
    assert reason in told
    assert not list(workplace.glob("results/*/*"))
    assert mistake != "hub out of reach" or seconds < 2.5


@pytest.mark.parametrize("mistake", ["tokenizer size", "tokenizer folder", "model too narrow", "missing corpus"])
def test_dry_run_opens_what_the_options_name(mistake: str, workplace: Path) -> None:
    arguments, _ = MISTAKES[mistake]
    assert call(*arguments(workplace), "--dry-run") == USAGE_ERROR


@pytest.mark.parametrize(
    "arguments", [["--search", "magic"], ["--steps", "many"], ["--no-such-option"], ["--schedules", "cubic"]]
)
def test_option_value_of_a_wrong_kind_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        call(*arguments)
    assert end.value.code == USAGE_ERROR


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_results_without_permission_are_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "locked").mkdir(mode=0o500)
    assert call(*SMALL, "--results", "locked") == USAGE_ERROR
    assert "cannot be made" in capsys.readouterr().err


def test_interrupt_before_the_trials_exits_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    assert main(interrupted, SearchOptions, "", []) == 130  # type: ignore[arg-type]
    assert "Interrupted" in capsys.readouterr().out


@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1:99999999"])
def test_a_cluster_that_does_not_answer_is_named_at_once(
    address: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*SMALL, "--address", address, "--results", "results") == USAGE_ERROR
    assert f"no Ray cluster at {address}" in capsys.readouterr().err
    assert not list((workplace / "results" / "schedule_search").glob("*"))
