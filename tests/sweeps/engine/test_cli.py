"""The command line: help and plan without Ray, Ctrl-C, clusters that do not answer (mistakes: test_bad_input.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from foreign_tokenizers import save, word_level
from paths import ROOT
from small_corpus import small_sentences

from sweeps.engine.cli import USAGE_ERROR, is_long, main
from sweeps.engine.options import run_address
from sweeps.schedule_search import SearchOptions, schedule_search

SCRIPT = str(ROOT / "sweeps" / "schedule_search.py")
SMALL = ["--corpus", "small.txt", "--tokenizer", "train:512", "--train-rows", "400", "--eval-rows", "50"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a new folder with a small corpus and its own cache, without colours or RAY_ADDRESS; return it."""
    (tmp_path / "small.txt").write_text("".join(f"{line}\n" for line in small_sentences()), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGRAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


def plan_of(printed: pytest.CaptureFixture[str]) -> str:
    """The printed plan joined into one line, because the plan is wrapped between words."""
    return " ".join(printed.readouterr().out.split())


def call(*arguments: str) -> int:
    return main(schedule_search, SearchOptions, "The study.", list(arguments))


def test_help_imports_neither_ray_nor_torch() -> None:
    code = f"import runpy, sys; sys.argv = ['x', '--help']\ntry: runpy.run_path({SCRIPT!r}, run_name='__main__')\n\
except SystemExit: print(sorted({{'ray', 'torch', 'transformers', 'datasets'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "--num-samples" in done.stdout and done.stdout.endswith("[]\n")


def test_dry_run_shows_the_plan_and_runs_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*SMALL, "--layers", "1", "3", "--num-samples", "5", "--dry-run") == 0
    plan = plan_of(capsys)
    assert "depths 1, 3" in plan
    assert "control: optimizer.lr 0.001, 0.003, 0.009; optimizer.warmup_steps 5, 10, 20; 5 of 9 settings" in plan
    assert "reference controls of the search: control-lr0.003-wu10-L1-s0, control-lr0.003-wu10-L3-s0" in plan
    assert "the winner of every group again on new seeds 1, 2, 3, on validation text that chose nothing" in plan
    assert "at most 48 trials, about " in plan
    assert sorted(path.name for path in workplace.iterdir()) == ["small.txt"]


def test_only_runs_that_take_longer_than_their_measurement_are_measured_without_dry_run() -> None:
    def long(*free: str, model: str | None = None) -> bool:
        return is_long(schedule_search(SearchOptions(set=free, model=model)))

    assert not long()  # the main job: some 4.4 M tokens
    assert long("loop.steps=480")
    assert long(model="small-llama2")


def test_the_plan_lists_the_changed_and_the_ignored_keys_of_a_model_folder(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"vocab_size": 512, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    more = {"pad_token_id": 2, "attention_dropout": 0.2, "sliding_window": 8}
    (workplace / "llama").mkdir()
    settings = {"model_type": "llama", "max_position_embeddings": 1024, **sizes, **more}
    (workplace / "llama" / "config.json").write_text(json.dumps(settings))
    assert call(*SMALL, "--model", "llama", "--dry-run") == 0
    plan = plan_of(capsys)
    assert "/llama: pad_token_id 2 set to none, attention_dropout 0.2 set to 0" in plan
    assert "/llama: not used, because a Llama has no such key: sliding_window" in plan


def test_the_plan_tells_how_a_given_tokenizer_ends_and_reads_the_rows(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = sorted({word for line in small_sentences(590) for word in line.split()} - {"today."})
    made = word_level(["<unk>", "</s>", *words], ["<|endoftext|>", "<|im_end|>"])
    made.enable_truncation(16)
    folder = str(save(made, workplace / "given"))
    given = ["--corpus", "small.txt", "--tokenizer", folder, "--train-rows", "400", "--eval-rows", "50"]
    assert call(*given, "--dry-run") == 0
    plan = plan_of(capsys)
    assert "end of text: '<|endoftext|>', a special token of tokenizer.json, for no other file names one" in plan
    assert "other candidates there: <|im_end|> (--set tokens.eos=TOKEN)" in plan
    assert "switched off in the tokenizer: truncation at 16 tokens" in plan
    assert "cannot read" not in plan
    assert call(*given, "--dry-run", "--set", "tokens.eos=<|im_end|>") == 0
    assert "end of text: '<|im_end|>', from the setting tokens.eos" in plan_of(capsys)


def test_the_plan_warns_of_rows_that_the_tokenizer_cannot_read_and_a_corpus_of_mostly_such_rows_is_refused(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(save(word_level(["<unk>", "a", "b"], ["</s>"]), workplace / "given"))
    given = ["--corpus", "rows.txt", "--tokenizer", folder, "--train-rows", "400", "--eval-rows", "50", "--dry-run"]
    (workplace / "rows.txt").write_text("a b\na b\nx y\n" * 200)
    assert call(*given) == 0
    assert f"warning: tokenizer {folder} cannot read 200 of 600 rows: their text mostly" in plan_of(capsys)
    (workplace / "rows.txt").write_text("a b\nx y\nx y\n" * 200)
    assert call(*given) == USAGE_ERROR
    assert "cannot read 400 of 600 rows: their text mostly becomes '<unk>', or nothing; take" in capsys.readouterr().err


def test_dry_run_imports_neither_ray_nor_torch() -> None:
    """The plan needs no PyTorch if the precision is given and no time is measured."""
    words = ["--dry-run", *SMALL, "--set", "loop.precision=float32"]
    code = f"import runpy, sys; sys.argv = ['x', *{words!r}]\n\
import sweeps.engine.cli; sweeps.engine.cli.time_of = lambda *_: 'not measured'\n\
try: runpy.run_path({SCRIPT!r}, run_name='__main__')\n\
except SystemExit as end: print(end.code, sorted({{'ray', 'torch'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("0 []\n"), done.stderr


@pytest.mark.parametrize("mistake", ["--tokenizer train:abc", "--tokenizer .", "--corpus nowhere.parquet"])
def test_dry_run_refuses_a_tokenizer_or_a_corpus_that_it_cannot_open(
    mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*mistake.split(), "--train-rows", "400", "--dry-run") == USAGE_ERROR
    subject = {"train:abc": "train:abc", ".": "tokenizer", "nowhere.parquet": "nowhere.parquet"}[mistake.split()[1]]
    assert subject in capsys.readouterr().err


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
def test_a_cluster_that_does_not_answer_is_named_before_a_run_folder_is_made(
    address: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*SMALL, "--address", address, "--results", "results") == USAGE_ERROR
    assert f"no Ray cluster at {address}" in capsys.readouterr().err
    assert not list((workplace / "results" / "schedule_search").glob("*"))


@pytest.mark.parametrize("text", ["file:///a%20folder/b", "file://localhost/a%20folder/b", "/a folder/b"])
def test_a_file_uri_is_the_path_that_it_names(text: str) -> None:
    assert run_address("--results", text) == Path("/a folder/b")
