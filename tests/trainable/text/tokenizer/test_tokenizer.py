"""The tokenizer: trained on training rows alone, the same each time, and refused with the reason if unusable."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from foreign_tokenizers import changed, published_kinds, save, word_level

from trainable.config import CorpusConfig
from trainable.errors import InputError
from trainable.text.corpus import open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer import tokenizer as tokenizer_module
from trainable.text.tokenizer.tokenizer import (
    TextTokenizer,
    corpus_tokenizer,
    given_tokenizer,
    load_tokenizer,
    train_bpe,
)

TEXTS = [f"the quick brown fox number {i} jumps over {i * 7919} lazy dogs , and so on ." for i in range(300)]


def trained(cache: Path, size: int = 512, texts: list[str] = TEXTS, seen: str = "texts") -> TextTokenizer:
    return load_tokenizer(f"train:{size}", lambda: iter(texts), seen, cache)


def no_texts() -> Iterator[str]:
    raise AssertionError("this tokenizer must not be trained")


def test_a_trained_tokenizer_decodes_any_text_that_it_encodes(tmp_path: Path) -> None:
    tokenizer = trained(tmp_path)
    for text in ("naïve 🙂 \u2028 text", "a  b\t\n c", "日本語"):
        assert tokenizer.encoder.decode(tokenizer.encoder.encode(text, add_special_tokens=False).ids) == f" {text}"


def test_training_twice_gives_the_same_tokenizer(tmp_path: Path) -> None:
    assert trained(tmp_path / "a").fingerprint == trained(tmp_path / "b").fingerprint


def test_a_trained_tokenizer_comes_from_the_cache_until_its_file_is_damaged(tmp_path: Path) -> None:
    first = trained(tmp_path)
    assert load_tokenizer("train:512", no_texts, "texts", tmp_path).fingerprint == first.fingerprint
    (file,) = (tmp_path / "tokenizers").glob("*/tokenizer.json")
    file.write_text(file.read_text()[:-100])
    assert trained(tmp_path).fingerprint == first.fingerprint


def test_other_training_rows_or_another_size_give_another_tokenizer(tmp_path: Path) -> None:
    prints = {
        trained(tmp_path).fingerprint,
        trained(tmp_path, size=520).fingerprint,
        trained(tmp_path, texts=["wholly different words entirely"] * 9, seen="others").fingerprint,
    }
    assert len(prints) == 3


def test_special_tokens_have_the_ids_that_llama_uses(tmp_path: Path) -> None:
    tokenizer = trained(tmp_path)
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    assert tokenizer.encoder.encode("the fox").ids[0] == 1


def test_text_that_spells_a_special_token_is_only_text(tmp_path: Path) -> None:
    tokenizer = trained(tmp_path)
    (encoding,) = tokenizer.encoder.encode_batch_fast(["</s> a <pad>"], add_special_tokens=False)
    assert not {0, 1, 2} & set(encoding.ids)


def test_a_small_corpus_gives_a_smaller_vocabulary_than_asked_for(tmp_path: Path) -> None:
    tokenizer = trained(tmp_path, size=5000, texts=["only these few words"])
    assert 259 < tokenizer.vocab_size < 300


def test_the_number_of_training_rows_is_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def texts() -> Iterator[str]:
        yield from TEXTS[:3]
        pytest.fail("read more rows than the cap")

    monkeypatch.setattr(tokenizer_module, "TRAINING_ROWS", 3)
    assert load_tokenizer("train:512", texts, "capped", tmp_path).vocab_size < 512


def test_the_tokenizer_is_trained_on_training_rows_only(tmp_path: Path) -> None:
    rows = [f"common words in row {i}" for i in range(50)]
    config = CorpusConfig(source=str(tmp_path / "rows.txt"), train_rows=20)
    split = split_rows(50, config)
    for row in split.eval:
        rows[row] = "secretword " * 50
    for row in split.row_ids(split.train_split_parts)[20:]:
        rows[row] = "unusedword " * 50
    (tmp_path / "rows.txt").write_text("\n".join(rows))
    tokenizer = corpus_tokenizer("train:1000", open_corpus(config), split.train, tmp_path)
    vocabulary = tokenizer.encoder.get_vocab()
    assert "Ġcommon" in vocabulary
    assert not {"Ġsecretword", "Ġunusedword"} & set(vocabulary)


def test_a_tokenizer_of_the_books_has_the_size_asked_for(tmp_path: Path, shared_data: Path) -> None:
    config = CorpusConfig(source=str(shared_data / "books" / "books.parquet"), train_rows=20_000)
    corpus = open_corpus(config)
    tokenizer = corpus_tokenizer("train:4096", corpus, split_rows(corpus.rows, config).train, tmp_path)
    assert tokenizer.vocab_size == 4096
    assert len(tokenizer.encoder.encode("she looked at him .", add_special_tokens=False).ids) == 5


# ---- tokenizers of others ----------------------------------------------------------------------------------------


def test_truncation_and_padding_of_a_loaded_tokenizer_are_switched_off_and_reported(tmp_path: Path) -> None:
    made = word_level(["<unk>", "a", "b"], ["<s>", "</s>"])
    made.enable_truncation(2)
    made.enable_padding(length=8)
    folder = save(made, tmp_path / "t")
    for spec in (folder, folder / "tokenizer.json"):
        tokenizer = load_tokenizer(str(spec), no_texts, "", tmp_path)
        assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (5, 3, 4, None)
        assert tokenizer.encoder.encode("a b a c").ids == [1, 2, 1, 0]
        assert tokenizer.switched_off == ("truncation at 2 tokens", "padding")


def test_dropout_is_switched_off_and_reported_and_does_not_change_the_fingerprint(tmp_path: Path) -> None:
    plain = save(published_kinds()["Gemma"], tmp_path / "plain")
    random = changed(save(published_kinds()["Gemma"], tmp_path / "random"), dropout=0.3)
    one, other = (given_tokenizer(str(folder)) for folder in (plain, random))
    assert (one.switched_off, other.switched_off) == ((), ("dropout 0.3 of its BPE",))
    assert one.fingerprint == other.fingerprint
    text = " ".join(TEXTS[:5])
    assert {tuple(other.encoder.encode(text).ids) for _ in range(20)} == {tuple(one.encoder.encode(text).ids)}
    again = pickle.loads(pickle.dumps(other))
    assert {tuple(again.encoder.encode(text).ids) for _ in range(20)} == {tuple(one.encoder.encode(text).ids)}


def test_a_folder_with_only_tokenizer_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"sentencepiece")
    with pytest.raises(InputError, match=r"has no tokenizer\.json: save the fast tokenizer there"):
        load_tokenizer(str(tmp_path), no_texts, "", tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_what_git_leaves_in_the_place_of_a_tokenizer_is_refused(tmp_path: Path, name: str) -> None:
    save(word_level(["<unk>"], ["</s>"]), tmp_path)
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(InputError, match=rf"{name} is a pointer of Git LFS, not the file itself: run `git lfs pull`"):
        load_tokenizer(str(tmp_path), no_texts, "", tmp_path)


def test_a_config_that_is_a_link_to_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A cache of the hub has such a link after its blobs were deleted."""
    save(word_level(["<unk>"], ["</s>", "<|im_end|>"]), tmp_path)
    (tmp_path / "tokenizer_config.json").unlink(missing_ok=True)
    (tmp_path / "tokenizer_config.json").symlink_to("../blobs/gone")
    with pytest.raises(InputError, match=r"tokenizer_config\.json is a link to a file that is gone: download it again"):
        load_tokenizer(str(tmp_path), no_texts, "", tmp_path)


def test_a_config_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    save(word_level(["<unk>", "end"]), tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "end"}', encoding="utf-8-sig")
    assert load_tokenizer(str(tmp_path), no_texts, "", tmp_path).special.eos == "end"


def test_a_tokenizer_file_of_another_name_is_read_without_the_files_beside_it(tmp_path: Path) -> None:
    """`tokenizer.save("wiki.json")` writes one file, so other files in its folder may be of another tokenizer."""
    folder = save(word_level(["<unk>", "end"], ["</s>"]), tmp_path, eos_token="end")
    (folder / "tokenizer.json").rename(folder / "wiki.json")
    assert load_tokenizer(str(folder / "wiki.json"), no_texts, "", tmp_path).special.eos == "</s>"
    with pytest.raises(InputError, match=r"tokenizer_config\.json is not a whole tokenizer file"):
        load_tokenizer(str(folder / "tokenizer_config.json"), no_texts, "", tmp_path)


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(InputError, match=r"tokenizer\.json is not a whole tokenizer file"):
        load_tokenizer(str(tmp_path), no_texts, "", tmp_path)


@pytest.mark.parametrize(
    "newer",
    [
        {"version": "2.0"},
        {"pre_tokenizer": {"type": "Neural"}},
        {"model": {"type": "Bytes", "vocab": {}}},
        {"decoder": {"type": "Neural"}},
    ],
)
def test_a_file_that_is_whole_but_of_an_unknown_kind_may_be_of_a_newer_library(
    newer: dict[str, object], tmp_path: Path
) -> None:
    path = save(word_level(["<unk>"], ["</s>"]), tmp_path) / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | newer))
    with pytest.raises(
        InputError, match=r"cannot be read by tokenizers \d.*: was it written by a newer version of tok"
    ):
        load_tokenizer(str(tmp_path), no_texts, "", tmp_path)


@pytest.mark.parametrize("spec", ["train:", "train:abc", "train:100", "train:1000001", "train:-5", "train:4096.0"])
def test_a_wrong_vocabulary_size_is_refused(tmp_path: Path, spec: str) -> None:
    with pytest.raises(InputError, match=r"give a vocabulary size from 512 to 1000000, such as train:4096"):
        load_tokenizer(spec, no_texts, "", tmp_path)


@pytest.mark.parametrize("spec", ["./no-such-folder", "/no/such/folder", "a/b/c", ""])
def test_a_missing_folder_is_refused(tmp_path: Path, spec: str) -> None:
    with pytest.raises(InputError, match=r"does not exist: set tokens\.tokenizer to a folder"):
        load_tokenizer(spec, no_texts, "", tmp_path)


def test_train_bpe_knows_every_byte_without_any_text() -> None:
    assert train_bpe(iter([]), 512).get_vocab_size() == 259
