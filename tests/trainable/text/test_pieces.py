"""Long rows in pieces: all of the text, no word cut, and the tokens of the whole row in bounded memory."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_file import config
from small_corpus import small_sentences

from trainable.config import TokensConfig
from trainable.text import packing
from trainable.text.blocks import token_blocks
from trainable.text.corpus import open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer import corpus_tokenizer, pieces, pieces_of

words = st.text(alphabet="ab \n", max_size=60)


@given(words, st.integers(2, 20))
def test_pieces_are_the_text_and_none_is_longer_than_the_limit(text: str, limit: int) -> None:
    found = list(pieces(text, limit))
    assert "".join(found) == text
    assert max(map(len, found)) <= limit


@given(st.lists(st.text(alphabet="ab", min_size=1, max_size=5), min_size=1, max_size=30))
def test_no_word_shorter_than_half_a_piece_is_cut(row: list[str]) -> None:
    assert " ".join(row).split() == [word for piece in pieces(" ".join(row), 12) for word in piece.split()]


@given(st.lists(words, max_size=9), st.integers(0, 200))
def test_pieces_of_texts_end_at_the_wanted_number_of_characters(texts: list[str], characters: int) -> None:
    assert "".join(pieces_of(texts, 7, characters)) == "".join(texts)[:characters]


def test_a_row_in_pieces_has_the_tokens_of_the_whole_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.txt"
    path.write_text("".join(" ".join(small_sentences(100 * n)) + "\n" for n in range(1, 7)))
    corpus = open_corpus(config(path).corpus)
    row_ids_R = split_rows(corpus.rows, config(path).corpus).train
    tokenizer = corpus_tokenizer("train:512", corpus, row_ids_R, tmp_path)
    whole = token_blocks(corpus, row_ids_R, tokenizer, TokensConfig(context=32), tmp_path / "whole")
    monkeypatch.setattr(packing, "WHOLE_ROW_BYTES", 1000)
    monkeypatch.setattr(packing, "ENCODE_BYTES", 1000)
    monkeypatch.setattr(packing, "PIECE_CHARACTERS", 300)
    monkeypatch.setattr(packing, "PIECES_AT_ONCE", 3)
    cut = token_blocks(corpus, row_ids_R, tokenizer, TokensConfig(context=32), tmp_path / "cut")
    assert cut.checksum == whole.checksum
