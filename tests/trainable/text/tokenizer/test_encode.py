"""Rows to tokens: a row has the same tokens whole or in windows, and rows that cannot be read are counted."""

import os
import random
from pathlib import Path
from threading import Barrier, current_thread
from time import sleep
from typing import Any

import numpy as np
import pytest
from foreign_tokenizers import ODD_TEXTS, published_kinds, save, word_level
from one_file import config
from small_corpus import small_sentences
from tokenizers import Tokenizer, models, pre_tokenizers

from trainable.config import CorpusConfig, TokensConfig
from trainable.errors import InputError
from trainable.text import packing
from trainable.text.blocks import token_blocks
from trainable.text.corpus import open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer import encode
from trainable.text.tokenizer.encode import LIBRARY_THREADS, each_in_a_thread, encode_rows
from trainable.text.tokenizer.tokenizer import TextTokenizer, corpus_tokenizer, given_tokenizer

KINDS = published_kinds()


def loaded(tokenizer: Tokenizer, folder: Path, **config: object) -> TextTokenizer:
    return given_tokenizer(str(save(tokenizer, folder / "tokenizer", **config)))


def long_text(seed: int) -> str:
    """Text of some 3,000 characters, with compositions, ligatures, runs of spaces and other scripts in random order."""
    chance = random.Random(seed)
    parts = [chance.choice([*small_sentences(50), *ODD_TEXTS * 7]) for _ in range(120)]
    return chance.choice([" ", "", " \n"]).join(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_in_windows_has_the_tokens_of_the_whole_row(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = loaded(KINDS[kind], tmp_path)
    for seed in range(4):
        text = long_text(seed)
        whole = encode_rows(tokenizer, [text])
        with monkeypatch.context() as small:
            small.setattr(encode, "WHOLE_ROW_BYTES", 100)
            for characters in (300, 1000, 2500):
                small.setattr(encode, "PIECE_CHARACTERS", characters)
                cut = encode_rows(tokenizer, [text])
                assert cut.ids_n.tolist() == whole.ids_n.tolist(), (seed, characters)
                assert cut.length_R.tolist() == whole.length_R.tolist() == [len(cut.ids_n)]


@pytest.mark.parametrize("kind", ["GPT-2", "Gemma", "Llama 2"])
def test_a_run_of_one_character_as_long_as_an_overlap_has_the_tokens_of_the_whole_row(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = loaded(KINDS[kind], tmp_path)
    text = " ".join([*small_sentences(10), " " * 333, *small_sentences(5), "a" * 333, "the cat"] * 5)
    whole = encode_rows(tokenizer, [text])
    monkeypatch.setattr(encode, "WHOLE_ROW_BYTES", 100)
    monkeypatch.setattr(encode, "PIECE_CHARACTERS", 1000)
    assert encode_rows(tokenizer, [text]).ids_n.tolist() == whole.ids_n.tolist()


def test_no_window_is_longer_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    real = encode.encodings

    def watched(tokenizer: TextTokenizer, texts: list[str], **how: bool) -> list[object]:
        given.extend(map(len, texts))
        return real(tokenizer, texts, **how)

    tokenizer = loaded(KINDS["Llama 2"], tmp_path)
    monkeypatch.setattr(encode, "encodings", watched)
    monkeypatch.setattr(encode, "WHOLE_ROW_BYTES", 100)
    monkeypatch.setattr(encode, "PIECE_CHARACTERS", 300)
    encode_rows(tokenizer, [long_text(0)])
    assert len(given) > 5 and max(given) == 300


@pytest.mark.parametrize("text", ["a" * 5000, " " * 5000 + "end", "ab" * 2000 + " " * 500])
def test_windows_that_agree_nowhere_give_the_text_once_but_for_a_token_at_each_joint(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = loaded(KINDS["GPT-2"], tmp_path)
    monkeypatch.setattr(encode, "WHOLE_ROW_BYTES", 100)
    monkeypatch.setattr(encode, "PIECE_CHARACTERS", 300)
    ids = encode_rows(tokenizer, [text]).ids_n.tolist()
    found = "".join(tokenizer.encoder.id_to_token(i) for i in ids[:-1]).replace("Ġ", " ")
    # each joint may lose or repeat a token, of at most 16 characters
    assert abs(len(found) - len(text)) <= 16 * len(text) // 150


def test_blocks_of_rows_in_windows_equal_those_of_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.txt"
    path.write_text("".join(" ".join(small_sentences(100 * n)) + "\n" for n in range(1, 7)))
    corpus = open_corpus(config(path).corpus)
    row_ids_R = split_rows(corpus.rows, config(path).corpus).train
    tokenizer = corpus_tokenizer("train:512", corpus, row_ids_R, tmp_path)
    whole = token_blocks(corpus, row_ids_R, tokenizer, TokensConfig(context=32), tmp_path / "whole")
    monkeypatch.setattr(encode, "WHOLE_ROW_BYTES", 1000)
    monkeypatch.setattr(packing, "ENCODE_BYTES", 1000)
    monkeypatch.setattr(encode, "PIECE_CHARACTERS", 300)
    cut = token_blocks(corpus, row_ids_R, tokenizer, TokensConfig(context=32), tmp_path / "cut")
    assert cut.checksum == whole.checksum


def test_an_eos_follows_each_row_except_a_row_without_a_token(tmp_path: Path) -> None:
    tokenizer = loaded(KINDS["drops"], tmp_path)
    found = encode_rows(tokenizer, ["the cat", "Жж", "a dog"])
    cat, dog = (tokenizer.encoder.encode(text, add_special_tokens=False).ids for text in ("the cat", "a dog"))
    assert found.ids_n.tolist() == [*cat, tokenizer.eos_id, *dog, tokenizer.eos_id]
    assert found.length_R.tolist() == [len(cat) + 1, 0, len(dog) + 1]
    assert found.unread_R.tolist() == [False, True, False]


def test_rows_of_more_than_half_unknown_tokens_are_unread(tmp_path: Path) -> None:
    tokenizer = loaded(word_level(["<unk>", "a", "b"], ["</s>"]), tmp_path)
    found = encode_rows(tokenizer, ["a b", "a x", "a x y", "x", "x y a b a"])
    assert found.unread_R.tolist() == [False, False, True, True, False]


@pytest.mark.parametrize("kind", ["Unigram", "BPE"])
def test_one_unknown_token_counts_as_the_text_for_which_it_stands(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T5 reads any sentence in Chinese as a mark for a space and one unknown token."""
    tokens = ["<unk>", "</s>", "\u2581", *"abcdehlo,"]
    model = (
        models.Unigram([(token, -1.0) for token in tokens], unk_id=0)
        if kind == "Unigram"
        else models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token="<unk>", fuse_unk=True)
    )
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens(["</s>"])
    tokenizer = loaded(made, tmp_path)
    rows = {
        "你好世界": True,
        "你好 世界 再见": True,
        "你好世界很长的文字, hello": True,
        "hello": False,
        "hello 世 coda": False,
    }
    assert encode_rows(tokenizer, ["你好世界"]).length_R.tolist() == [3]
    assert encode_rows(tokenizer, list(rows)).unread_R.tolist() == list(rows.values())
    monkeypatch.setattr(encode, "WHOLE_ROW_BYTES", 100)
    monkeypatch.setattr(encode, "PIECE_CHARACTERS", 300)
    for row, is_unread in rows.items():
        assert encode_rows(tokenizer, [f"{row} " * 100]).unread_R.tolist() == [is_unread], row


def test_a_row_in_windows_is_unread_like_the_whole_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "WHOLE_ROW_BYTES", 100)
    monkeypatch.setattr(encode, "PIECE_CHARACTERS", 300)
    for name, kind in (("unknown", word_level(["<unk>", "a", "b"], ["</s>"])), ("drops", KINDS["drops"])):
        tokenizer = loaded(kind, tmp_path / name)
        lost, read = "Ж й " * 300, "a b " * 300
        assert [encode_rows(tokenizer, [text]).unread_R.tolist() for text in (lost, read)] == [[True], [False]]


def test_bytes_that_stand_for_a_character_are_not_unknown(tmp_path: Path) -> None:
    alphabet = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a"]
    tokenizer = loaded(KINDS["GPT-2"], tmp_path / "bytes")
    assert encode_rows(tokenizer, ["日本語"]).unread_R.tolist() == [False]
    fallback = Tokenizer(models.BPE({t: i for i, t in enumerate(alphabet)}, [], unk_token="<unk>", byte_fallback=True))
    fallback.add_special_tokens(["</s>"])
    tokenizer = loaded(fallback, tmp_path / "fallback")
    assert encode_rows(tokenizer, ["日本語"]).unread_R.tolist() == [False]
    assert tokenizer.unk_id == 0 and tokenizer.dropped is None


def test_rows_whose_text_spells_an_eos_that_the_model_knows_are_counted(tmp_path: Path) -> None:
    tokenizer = loaded(word_level(["<unk>", "</s>", "a"]), tmp_path, eos_token="</s>")
    assert encode_rows(tokenizer, ["a a", "a </s> a"]).eos_R.tolist() == [False, True]


def test_text_that_a_tokenizer_cannot_encode_is_refused(tmp_path: Path) -> None:
    tokenizer = loaded(word_level(["a"], ["</s>"], unknown="[UNK]"), tmp_path)
    with pytest.raises(InputError, match=r"tokenizer '.*' cannot read a row \(.*Missing \[UNK\] token.*\): its vocab"):
        encode_rows(tokenizer, ["a b"])


@pytest.mark.parametrize("before", [None, "true", "false"])
@pytest.mark.parametrize("packed", ["packed", "as_published"])
def test_the_library_has_no_threads_while_a_text_is_tokenised_and_its_setting_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None, packed: Any
) -> None:
    monkeypatch.delenv(LIBRARY_THREADS, raising=False)
    if before is not None:
        monkeypatch.setenv(LIBRARY_THREADS, before)
    corpus = open_corpus(CorpusConfig())
    tokenizer = corpus_tokenizer("train:512", corpus, np.arange(300), tmp_path)
    settings, during = TokensConfig(context=8, packing=packed), []
    library = encode.encodings

    def noted(*texts: Any, **how: bool) -> list[Any]:
        during.append(os.environ[LIBRARY_THREADS])
        return library(*texts, **how)

    def wrong(*texts: Any, **how: bool) -> list[Any]:
        raise InputError("this portion is wrong.")

    for module in (encode, packing):
        monkeypatch.setattr(module, "encodings", noted)
    token_blocks(corpus, np.arange(200), tokenizer, settings, tmp_path)
    assert set(during) == {"false"} and os.environ.get(LIBRARY_THREADS) == before
    for module in (encode, packing):
        monkeypatch.setattr(module, "encodings", wrong)
    with pytest.raises(InputError, match="this portion is wrong"):
        token_blocks(corpus, np.arange(300), tokenizer, settings, tmp_path)
    assert os.environ.get(LIBRARY_THREADS) == before


@pytest.mark.parametrize("threads", [1, 3])
def test_as_many_portions_are_tokenised_at_once_as_there_are_cores(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Each portion waits until as many are at work; with one thread less they would wait for ever."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    together, names = Barrier(threads, timeout=60), set()

    def tokenise(portion: int) -> int:
        together.wait()
        names.add(current_thread().name)
        return -portion

    assert each_in_a_thread(tokenise, range(2 * threads)) == [-portion for portion in range(2 * threads)]
    assert len(names) == threads


def test_after_an_error_no_further_portion_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    begun = []

    def tokenise(portion: int) -> None:
        begun.append(portion)
        if portion == 0:
            raise InputError("row 0 is wrong.")
        sleep(0.01)

    with pytest.raises(InputError, match="row 0 is wrong"):
        each_in_a_thread(tokenise, range(1000))
    assert len(begun) < 500
