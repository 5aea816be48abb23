"""The token that ends a row: an ordinary entry of the vocabulary only if a file or the user names it."""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_tokenizers import save, word_level
from tokenizers import AddedToken

from trainable.errors import InputError
from trainable.text.sources import hub
from trainable.text.tokenizer.special_tokens import SpecialTokens
from trainable.text.tokenizer.tokenizer import given_tokenizer

QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA_3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|finetune_right_pad_id|>")


def special_of(folder: Path, eos: str | None = None) -> SpecialTokens:
    return given_tokenizer(str(folder), eos).special


def test_an_ordinary_entry_that_looks_like_an_end_of_text_is_none(tmp_path: Path) -> None:
    folder = save(word_level(["<unk>", "<s>", "</s>", "<pad>", "a"], ["<|endoftext|>"]), tmp_path)
    tokenizer = given_tokenizer(str(folder))
    assert tokenizer.special == SpecialTokens("<|endoftext|>", None, None, "tokenizer.json", ())
    assert (tokenizer.eos_id, tokenizer.bos_id, tokenizer.pad_id) == (5, None, None)


def test_an_added_token_that_is_not_special_is_no_end_of_text(tmp_path: Path) -> None:
    made = word_level(["<unk>", "a"], ["<|endoftext|>"])
    made.add_tokens([AddedToken("</s>", special=False)])
    assert special_of(save(made, tmp_path)).eos == "<|endoftext|>"


@pytest.mark.parametrize(
    ("special", "eos", "others"),
    [
        (QWEN, "<|endoftext|>", ("<|im_end|>",)),
        (LLAMA_3, "<|end_of_text|>", ("<|eot_id|>",)),
        (("[UNK]", "[EOS]"), "[EOS]", ()),
        (("<\uff5cend\u2581of\u2581sentence\uff5c>",), "<\uff5cend\u2581of\u2581sentence\uff5c>", ()),
    ],
)
def test_the_first_known_special_token_is_the_end_of_text_and_the_others_are_listed(
    special: tuple[str, ...], eos: str, others: tuple[str, ...], tmp_path: Path
) -> None:
    found = special_of(save(word_level(["<unk>", "a"], special), tmp_path))
    assert (found.eos, found.eos_from, found.other_ends) == (eos, "tokenizer.json", others)


@pytest.mark.parametrize("named", ["<|im_end|>", {"content": "<|im_end|>", "lstrip": False, "__type": "AddedToken"}])
def test_a_token_that_a_file_names_comes_before_the_first_known_token(named: object, tmp_path: Path) -> None:
    folder = save(
        word_level(["<unk>", "a"], QWEN), tmp_path, eos_token=named, pad_token="<|endoftext|>", bos_token=None
    )
    assert special_of(folder) == SpecialTokens("<|im_end|>", None, "<|endoftext|>", "tokenizer_config.json", ())


def test_the_setting_comes_before_a_token_that_a_file_names(tmp_path: Path) -> None:
    folder = save(word_level(["<unk>", "a"], QWEN), tmp_path, eos_token="<|gone|>")
    found = special_of(folder, eos="<|im_end|>")
    assert (found.eos, found.eos_from) == ("<|im_end|>", "tokens.eos")


def test_special_tokens_map_is_read_if_the_config_names_no_end_of_text(tmp_path: Path) -> None:
    folder = save(word_level(["<unk>", "a"], QWEN), tmp_path, eos_token=None, model_max_length=8)
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": {"content": "<|im_end|>"}}))
    assert special_of(folder)[::3] == ("<|im_end|>", "special_tokens_map.json")
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    assert special_of(folder)[::3] == ("<|endoftext|>", "tokenizer_config.json")


@pytest.mark.parametrize("none", [None, ""])
def test_a_null_or_empty_name_says_that_there_is_no_bos_and_an_absent_key_says_nothing(
    none: object, tmp_path: Path
) -> None:
    made = word_level(["<unk>", "a"], LLAMA_3)
    found = special_of(save(made, tmp_path / "none", bos_token=none, eos_token=none, unk_token=none))
    assert (found.bos, found.eos, found.eos_from) == (None, "<|end_of_text|>", "tokenizer.json")
    assert special_of(save(made, tmp_path / "absent", model_max_length=8)).bos == "<|begin_of_text|>"


def test_config_and_generation_config_do_not_name_the_end_of_text(tmp_path: Path) -> None:
    folder = save(word_level(["<unk>", "a"], QWEN), tmp_path)
    for name in ("config.json", "generation_config.json"):
        (folder / name).write_text(json.dumps({"eos_token_id": 4, "eos_token": "<|im_end|>"}))
    assert special_of(folder).eos == "<|endoftext|>"


@pytest.mark.parametrize("kind", ["eos", "bos", "pad", "unk"])
def test_a_named_token_that_the_vocabulary_lacks_is_refused(kind: str, tmp_path: Path) -> None:
    config = {"eos_token": "</s>"} | {f"{kind}_token": "<|end|>"}
    folder = save(word_level(["<unk>", "a"], ["</s>"]), tmp_path, **config)
    told = rf"tokenizer_config\.json names '<\|end\|>' as {kind}_token but tokenizer\.json has no such token: correct"
    with pytest.raises(InputError, match=told):
        special_of(folder)


@pytest.mark.parametrize("value", [["</s>", "a"], 2, 99, True, {"id": 2}, {"content": None}, 1.5])
def test_a_name_that_is_no_text_is_refused_in_one_sentence(value: object, tmp_path: Path) -> None:
    folder = save(word_level(["<unk>", "a"], ["</s>"]), tmp_path, eos_token=value)
    with pytest.raises(
        InputError, match=r"as eos_token: write the text of one token there, or give --set tokens\.eos="
    ):
        special_of(folder)


@pytest.mark.parametrize(
    ("special", "told"),
    [
        ((), "and it marks none"),
        (("<|finish|>", "<|go|>"), r"special tokens \(<\|finish\|>, <\|go\|>\) is known as one"),
    ],
)
def test_a_tokenizer_without_a_known_end_is_refused_and_the_setting_is_named(
    special: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    folder = save(word_level(["<unk>", "</s>", "a"], special), tmp_path)
    with pytest.raises(InputError, match=rf"has no end-of-text token.*{told}; name one .* --set tokens\.eos=TOKEN"):
        special_of(folder)
    assert special_of(folder, eos="</s>").eos == "</s>"


def test_a_setting_that_is_no_token_is_refused(tmp_path: Path) -> None:
    folder = save(word_level(["<unk>", "a"], ["</s>"]), tmp_path)
    with pytest.raises(InputError, match=r"tokens\.eos is '<eos>' but tokenizer '.*' has no such token: .* as </s>"):
        special_of(folder, eos="<eos>")


def test_a_row_that_spells_a_named_token_is_only_text(tmp_path: Path) -> None:
    made = word_level(["<unk>", "a"])
    made.add_tokens([AddedToken("<end>", special=False)])
    tokenizer = given_tokenizer(str(save(made, tmp_path, eos_token="<end>")))
    assert tokenizer.encoder.encode("a <end> a", add_special_tokens=False).ids == [1, 0, 1]


# ---- hub ids -------------------------------------------------------------------------------------------------------


class Cache:
    """Hub cache without network: it has some files, knows that some others do not exist, and knows no more."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.snapshot = folder / "hub" / "models--org--name" / "snapshots" / "c0"
        self.absent = folder / "hub" / "models--org--name" / ".no_exist" / "c0"
        (folder / "hub" / "models--org--name" / "refs").mkdir(parents=True)
        (folder / "hub" / "models--org--name" / "refs" / "main").write_text("c0")
        monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def file(self, name: str, **config: Any) -> None:
        (self.snapshot / name).write_text(json.dumps(config))

    def without(self, name: str) -> None:
        self.absent.mkdir(parents=True, exist_ok=True)
        (self.absent / name).touch()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    found = Cache(tmp_path, monkeypatch)
    save(word_level(["<unk>", "a"], QWEN), found.snapshot)
    return found


def test_a_hub_id_whose_config_is_not_in_the_cache_is_refused_without_network(cache: Cache) -> None:
    with pytest.raises(
        hub.UnknownFile, match=r"tokenizer_config\.json of 'org/name', which names its end of text, is n"
    ):
        given_tokenizer("org/name")
    assert given_tokenizer("org/name", eos="<|im_end|>").special.eos == "<|im_end|>"
    cache.file("tokenizer_config.json", eos_token="<|im_end|>")
    assert given_tokenizer("org/name").special.eos_from == "tokenizer_config.json"


def test_a_hub_id_that_is_known_to_have_no_such_files_is_read_without_them(cache: Cache) -> None:
    cache.without("tokenizer_config.json")
    with pytest.raises(hub.UnknownFile, match=r"special_tokens_map\.json of 'org/name'"):
        given_tokenizer("org/name")
    cache.without("special_tokens_map.json")
    assert given_tokenizer("org/name").special.eos == "<|endoftext|>"
