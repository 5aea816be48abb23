"""Text that a tokenizer drops, before its model or in its model."""

import json
from collections.abc import Iterable

import pytest
from foreign_tokenizers import published_kinds, word_level
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from trainable.text.tokenizer.tokenizer import train_bpe
from trainable.text.tokenizer.unread import dropped_characters, mostly_dropped

KINDS = published_kinds()


def lost(tokenizer: Tokenizer, text: str) -> bool:
    pattern = dropped_characters(json.loads(tokenizer.to_str()))
    assert pattern is not None
    return mostly_dropped(tokenizer, pattern, text)


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "drops"])
def test_tokenizers_with_an_unknown_token_or_all_bytes_lose_no_text(kind: str) -> None:
    assert dropped_characters(json.loads(KINDS[kind].to_str())) is None


def test_a_tokenizer_that_train_bpe_makes_loses_no_text() -> None:
    assert dropped_characters(json.loads(train_bpe(iter([]), 512).to_str())) is None


@pytest.mark.parametrize(
    ("text", "is_lost"),
    [("the cat", False), ("Ж Й", True), ("Ж Й - щ", True), ("abc ЖЙщ", False), ("ab ЖЙщ", True), ("a dog Ж", False)],
)
def test_a_bpe_without_unknown_token_drops_characters_and_spaces_do_not_hide_the_loss(text: str, is_lost: bool) -> None:
    """The spaces of a dropped text still give tokens, so the number of tokens does not show the loss."""
    assert lost(KINDS["drops"], text) == is_lost


def test_bytes_that_a_byte_level_vocabulary_lacks_are_dropped() -> None:
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate("abcĠ")}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert [lost(made, text) for text in ("ab c", "日本 語", "ab語", "abcabc語")] == [False, True, True, False]


def test_byte_fallback_drops_a_character_of_which_a_byte_is_missing() -> None:
    """A converted or pruned vocabulary may have byte fallback switched on but lack some of the 256 bytes."""

    def of(bytes_: Iterable[int]) -> Tokenizer:
        vocabulary = ["a", "b", "\u2581", "щ", *(f"<0x{byte:02X}>" for byte in bytes_)]
        return Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, [], byte_fallback=True))

    texts = ("ab", "щщ", "xyz", "日本 語", "ЖЙ", "🙂")
    some = [*range(0x80, 0xC0), *range(0xE4, 0xEA)]  # of Chinese and Japanese
    for bytes_, lost_of in (
        ((), [False, False, True, True, True, True]),
        (range(128), [False, False, False, True, True, True]),
        (some, [False, False, True, False, True, True]),
        (range(0xC2, 0xF5), [False, False, True, True, True, True]),
    ):
        assert [lost(of(bytes_), text) for text in texts] == lost_of
    spelt = [byte for byte in range(256) if byte not in (0xC0, 0xC1, *range(0xF5, 0x100))]  # all bytes that UTF-8 uses
    for made in (of(range(256)), of(spelt)):
        assert dropped_characters(json.loads(made.to_str())) is None


def test_characters_that_are_added_tokens_are_not_dropped() -> None:
    made = Tokenizer(models.BPE())
    made.add_special_tokens(["X"])
    made.add_tokens(list("ACGT"))
    assert [lost(made, text) for text in ("ACGTAC", "XXXAC")] == [False, True]


def test_marks_of_subwords_and_word_ends_are_not_letters() -> None:
    made = Tokenizer(
        models.BPE({"a": 0, "##b": 1, "##c</w>": 2}, [], continuing_subword_prefix="##", end_of_word_suffix="</w>")
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert [lost(made, text) for text in ("abc", "xyz")] == [False, True]


@pytest.mark.parametrize("way", ["normalizer", "pre-tokenizer"])
def test_text_that_the_normalizer_or_pre_tokenizer_removes_is_lost_too(way: str) -> None:
    made = word_level(["<unk>", "a", "b"])
    other = Regex("[^a-z ]")
    if way == "normalizer":
        made.normalizer = normalizers.Replace(other, "")
    else:
        made.pre_tokenizer = pre_tokenizers.Split(other, "removed")
    assert [lost(made, text) for text in ("a b", "ЖЙ a", "Ж ab")] == [False, True, False]
