"""`python -m trainable.teacher` writes a table of the training rows alone, and prints its size, loss and cost."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paths import child_environment
from small_corpus import small_sentences
from tokenizers import Tokenizer

import trainable
from trainable.config import CorpusConfig, TokensConfig
from trainable.errors import InputError
from trainable.record.files import atomic_file
from trainable.student.step_cost import StepCost
from trainable.table_command import main
from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.ngram_table import NgramTable
from trainable.teacher.table import BigramTable, load_table, save_table
from trainable.teacher.teacher import TableFile
from trainable.text.blocks import TokenBlocks

ROWS = {"train_rows": 400, "eval_rows": 50}
COST = StepCost(plain=0.4, ratio=1.05, ratio_low=0.98, ratio_high=1.12, pairs=5, tokens=4096)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with a small corpus and its own cache; the cost of a step is COST and is not measured."""
    (tmp_path / "small.txt").write_text("".join(f"{line}\n" for line in small_sentences()), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIGRAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("trainable.table_words.step_cost", lambda config, data: COST)
    return tmp_path


def made(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Output of the command that makes the file `table` from the small corpus."""
    rows = [word for name, number in ROWS.items() for word in (f"--{name}", str(number))]
    given = ["--corpus", "small.txt", "--tokenizer", "train:512", "--out", "table", "--context", "32", *rows, *words]
    assert main(given) == 0
    return capsys.readouterr().out


def blocks_of(part: str) -> TokenBlocks:
    """Token blocks of the training or the validation rows, made with the public API."""
    source = CorpusConfig(source="small.txt", **ROWS)
    corpus = trainable.open_corpus(source)
    split = trainable.split_rows(corpus.rows, source)
    tokenizer = trainable.corpus_tokenizer("train:512", corpus, split.train, Path("cache"))
    tokens = TokensConfig(tokenizer="train:512", context=32)
    return trainable.token_blocks(corpus, getattr(split, part), tokenizer, tokens, Path("cache"))


def loss_said(table: Any) -> str:
    """Sentence that the command should print about the table's own loss on the held-out rows."""
    held_out = blocks_of("eval")
    loss = table.own_loss(held_out.ids_BxT, None)
    return (
        f"Its own loss on 50 rows that were not counted: {loss:.4f} nats per token "
        f"(perplexity {math.exp(loss):,.1f}); a uniform table would have "
        f"{math.log(held_out.vocab_size):.4f}."
    )


def test_order_2_makes_the_bigram_table_of_the_training_rows_alone(capsys: pytest.CaptureFixture[str]) -> None:
    said = made(capsys)
    table = trainable.load_table(Path("table"))
    train = blocks_of("train")
    counts = trainable.count_bigrams(train.stream_N, train.vocab_size, first_context=train.eos_id)
    expected = trainable.estimate_table(
        counts, "modified_kneser_ney", tokenizer_fingerprint=table.tokenizer_fingerprint
    )
    assert table.checksum == expected.checksum
    assert f"Wrote table: {len(counts.keys_K):,} bigrams, " in said
    assert f"counted on {len(train.stream_N):,} tokens of 400 rows, with a vocabulary of {train.vocab_size:,}" in said
    assert loss_said(table) in said


def test_order_3_makes_an_n_gram_table_and_prints_the_number_of_kept_n_grams(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = made(capsys, "--order", "3", "--min-count", "1,2")
    table = trainable.load_ngrams(Path("table"))
    train = blocks_of("train")
    counts = trainable.count_ngrams(train.stream_N, train.vocab_size, 3, eos_id=train.eos_id)
    expected = trainable.estimate_ngrams(counts, min_count=(1, 2), tokenizer_fingerprint=table.tokenizer_fingerprint)
    assert table.checksum == expected.checksum
    kept = [len(level.columns) for level in table.levels]
    assert kept[1] < table.ngrams[2]
    assert f"Wrote table: {kept[0]:,} bigrams, {kept[1]:,} 3-grams, " in said
    assert loss_said(table) in said


@pytest.mark.parametrize("order", ["2", "4"])
def test_the_written_file_can_be_loaded_as_a_teacher(capsys: pytest.CaptureFixture[str], order: str) -> None:
    """The teacher's vector E at the last position is the table's row for its context times the output matrix."""
    said = made(capsys, "--order", order)
    assert "teacher = trainable.load_teacher('table')" in said
    teacher = trainable.load_teacher("table")
    table = teacher.table
    assert isinstance(table, BigramTable | NgramTable)
    context_1xT = blocks_of("eval").ids_BxT[:1, :3].astype(np.int64)
    output_VxD = torch.randn(table.vocab_size, 8, generator=torch.Generator().manual_seed(0))
    guidance = teacher.guide(output_VxD, context_1xT, 0.5)
    last = table.row(int(context_1xT[0, -1])) if isinstance(table, BigramTable) else table.row(context_1xT[0])
    assert guidance.expected_RxD is not None and guidance.row is not None
    expected_D = torch.from_numpy(last) @ output_VxD.double()
    torch.testing.assert_close(guidance.expected_RxD[guidance.row[0, -1]].double(), expected_D, rtol=1e-4, atol=1e-4)


def test_an_infinite_loss_is_reported_with_the_loss_of_kneser_ney(capsys: pytest.CaptureFixture[str]) -> None:
    """The validation rows have pairs of tokens that the table has never seen."""
    Path("small.txt").write_text("".join(f"{chr(97 + i % 26)}{chr(97 + i * 7 % 25)} {i}\n" for i in range(600)))
    said = made(capsys, "--smoothing", "mle")
    assert "rows that were not counted is infinite, because mle gives unseen pairs no probability; --smoothing" in said
    assert "modified_kneser_ney would have " in said


def test_the_trained_tokenizer_is_written_beside_the_table_and_makes_the_same_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = made(capsys)
    assert "Wrote table.tokenizer.json: the tokenizer, trained on the counted rows." in said
    corpus = trainable.open_corpus(CorpusConfig(source="small.txt"))
    given = trainable.corpus_tokenizer("table.tokenizer.json", corpus, np.arange(9), Path("cache"))
    table = trainable.load_table(Path("table"), expect_tokenizer=given.fingerprint)
    assert given.vocab_size == table.vocab_size
    Path("again").mkdir()
    made(capsys, "--tokenizer", "table.tokenizer.json", "--out", "again/table")
    assert Path("again/table").read_bytes() == Path("table").read_bytes()
    assert sorted(path.name for path in Path("again").iterdir()) == ["table"], "a given tokenizer is not written again"
    assert Tokenizer.from_file("table.tokenizer.json").get_vocab_size() == table.vocab_size


def test_the_cost_of_a_step_is_printed_unless_no_cost_is_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = made(capsys)
    assert "A guided step takes 1.05 times as long as a plain one (0.98 to 1.12 in 5 pairs), which takes 400" in said
    assert "differ too much" not in said
    monkeypatch.setattr("trainable.table_words.step_cost", lambda config, data: replace(COST, ratio_low=0.7))
    assert "The pairs differ too much" in made(capsys, "--out", "noisy")
    assert "A guided step" not in made(capsys, "--no-cost", "--out", "other")


def test_the_table_is_written_even_if_the_cost_cannot_be_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise InputError("no such kernel.")

    monkeypatch.setattr("trainable.table_words.step_cost", broken)
    assert "The cost of a guided step could not be measured (no such kernel)." in made(capsys)
    assert trainable.load_table(Path("table")).counted_tokens > 0


def test_a_full_disk_is_reported_in_one_sentence_and_leaves_no_file(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(table: BigramTable, path: Path) -> None:
        if path.name != "table":  # the table in the cache
            return save_table(table, path)
        with atomic_file(path) as stream:
            stream.write(b"some of it")
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(BigramTeacher, "table_file", TableFile(save, load_table))
    (workplace / "new").mkdir()
    words = ["--corpus", "small.txt", "--tokenizer", "train:512", "--out", "new/table", "--no-cost"]
    assert main(words) == 2
    assert "--out new/table could not be written (No space left on device): give" in capsys.readouterr().err
    assert not list((workplace / "new").iterdir())


def test_a_file_of_the_users_with_a_librarys_name_is_not_imported(workplace: Path) -> None:
    (workplace / "json.py").write_text("raise SystemExit('the wrong json')")
    (workplace / "datasets.py").write_text("raise SystemExit('the wrong datasets')")
    done = subprocess.run(
        [sys.executable, "-m", "trainable.teacher", "--help"],
        capture_output=True,
        text=True,
        cwd=workplace,
        env=child_environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "--order" in done.stdout
