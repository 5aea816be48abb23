"""Messages to the user about how many rows a tokenizer can read, in a sample and in all rows."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from foreign_tokenizers import save, word_level

from trainable.config import CorpusConfig
from trainable.errors import InputError
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.tokenizer import reading
from trainable.text.tokenizer.encode import Encoded, encode_rows
from trainable.text.tokenizer.reading import Reading, read_sample, reading_lines, tokenizer_lines
from trainable.text.tokenizer.tokenizer import TextTokenizer, given_tokenizer


def corpus_of(folder: Path, rows: Sequence[str]) -> Corpus:
    (folder / "rows.txt").write_text("".join(f"{row}\n" for row in rows))
    return open_corpus(CorpusConfig(source=str(folder / "rows.txt")))


@pytest.fixture
def tokenizer(tmp_path: Path) -> TextTokenizer:
    return given_tokenizer(str(save(word_level(["<unk>", "a", "b"], ["</s>"]), tmp_path / "words")))


def test_a_sample_is_spread_over_the_rows_or_has_the_first_rows_of_a_large_corpus(
    tokenizer: TextTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = corpus_of(tmp_path, ["a b", "", "x y", "  ", "a", "x"])
    assert read_sample(tokenizer, corpus) == Reading("rows", 4, 2, 0, refused_above=0.5)
    monkeypatch.setattr(reading, "SAMPLE_ROWS", 4)  # rows 0, 1, 3, 5
    assert read_sample(tokenizer, corpus) == Reading("sampled rows", 2, 1, 0, refused_above=0.55)
    monkeypatch.setattr(reading, "SPREAD_ROWS", 5)  # rows 0 to 3
    assert read_sample(tokenizer, corpus) == Reading("rows, the first of the corpus", 2, 1, 0, math.inf)


def test_a_sample_has_only_the_beginning_of_long_rows(
    tokenizer: TextTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = corpus_of(tmp_path, ["a b " + "x " * 50, "x " * 50])
    monkeypatch.setattr(reading, "SAMPLE_CHARACTERS", 4)
    assert read_sample(tokenizer, corpus).unread == 1


def test_tokens_that_differ_from_one_time_to_the_next_are_refused(
    tokenizer: TextTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def at_random(tokenizer: TextTokenizer, texts: list[str]) -> Encoded:
        found = encode_rows(tokenizer, texts)
        calls.append(len(texts))
        return found._replace(ids_n=found.ids_n + len(calls))

    monkeypatch.setattr(reading, "encode_rows", at_random)
    with pytest.raises(InputError, match=r"words' makes other tokens of the same text each time: switch off in its"):
        read_sample(tokenizer, corpus_of(tmp_path, ["a b"]))


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((1000, 0), []),
        ((1000, 10), ["tokenizer "]),
        ((1000, 11), ["warning: "]),
        ((1000, 500), ["warning: "]),
    ],
)
def test_unread_rows_are_reported_and_above_one_percent_give_a_warning(
    counts: tuple[int, int], told: list[str], tokenizer: TextTokenizer
) -> None:
    lines = list(reading_lines(Reading("training rows", *counts, eos=0), tokenizer))
    assert [line[: len(start)] for line, start in zip(lines, told, strict=True)] == told
    assert all(f"cannot read {counts[1]} of 1,000 training rows: their text mostly becomes '<unk>'" in s for s in lines)


def test_more_than_half_unread_rows_are_refused_but_a_sample_needs_a_larger_share(tokenizer: TextTokenizer) -> None:
    with pytest.raises(
        InputError, match=r"read 501 of 1,000 training rows: .*'<unk>', or nothing; take a tokenizer made"
    ):
        list(reading_lines(Reading("training rows", 1000, 501, 0), tokenizer))
    [line] = reading_lines(Reading("sampled rows", 1000, 501, 0, refused_above=0.55), tokenizer)
    assert line.startswith("warning: ") and "a run is refused where that holds for more than half of its rows" in line


def test_rows_whose_text_contains_an_end_of_text_are_reported(tokenizer: TextTokenizer) -> None:
    [line] = reading_lines(Reading("training rows", 10, 0, 3), tokenizer)
    assert "3 of 10 training rows hold text that" in line and "reads as its end of text '</s>'" in line


def test_the_plan_names_the_end_of_text_and_its_source_and_what_is_switched_off(tokenizer: TextTokenizer) -> None:
    def said(**special: Any) -> str:
        return " | ".join(
            tokenizer_lines(dataclasses.replace(tokenizer, special=tokenizer.special._replace(**special)))
        )

    assert said() == (
        "end of text: '</s>', a special token of tokenizer.json, for no other file names one; 4 tokens in all"
    )
    assert "; other candidates there: <eos> (--set tokens.eos=TOKEN)" in said(other_ends=("<eos>",))
    assert "'</s>', named by tokenizer_config.json; " in said(eos_from="tokenizer_config.json")
    assert "'</s>', from the setting tokens.eos; " in said(eos_from="tokens.eos")
    cut = dataclasses.replace(tokenizer, switched_off=("truncation at 2 tokens", "padding"))
    assert list(tokenizer_lines(cut))[1] == "switched off in the tokenizer: truncation at 2 tokens, padding"
