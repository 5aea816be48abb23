"""Find rows that a tokenizer cannot read: they give no token, or most of their text is unknown or dropped.

A model trained on such rows learns nothing of their text, and its loss looks small. Bytes that stand for an unknown
character (byte fallback) are not unknown.

Shapes: R rows, n tokens.
"""

import re
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, pre_tokenizers

SPACES = "\\s\u2581\u0120"  # for a pattern: white space, and what tokenizers write for a space
_NO_CHARACTER = re.compile("(?!)")
_EVERY_CHARACTER = f"{re.escape(chr(0))}-{chr(sys.maxunicode)}"
_FIRST_OF = {1: 0x80, 2: 0x800, 3: 0x10000}  # number of bytes after the first -> first character that has so many
_NOT_SPACE = re.compile(f"[^{SPACES}]")


def dropped_characters(tree: dict[str, Any]) -> re.Pattern[str] | None:
    """Pattern of the characters that a tokenizer's model drops from words; None: no text can be lost.

    tree: the tokenizer as in its file. Only a BPE without an unknown token drops characters, those that it neither
    knows nor can spell in bytes; an added token is known too. Other steps may remove text by a rule: then the pattern
    is not None, though it may match nothing.
    """
    steps = list(_objects([tree["normalizer"], tree["pre_tokenizer"]]))
    removes = any(
        step.get("content") == "" or step.get("behavior") == "Removed" or step.get("type") == "CharDelimiterSplit"
        for step in steps
    )
    model, vocabulary = tree["model"], tree["model"]["vocab"]
    drops = model["type"] == "BPE" and model["unk_token"] is None
    spelt = _spelt_in_bytes(vocabulary) if drops and model["byte_fallback"] else ""
    drops = drops and spelt != _EVERY_CHARACTER
    if drops and any(step.get("type") == "ByteLevel" for step in steps):
        drops = any(byte not in vocabulary for byte in pre_tokenizers.ByteLevel.alphabet())
    if not drops:
        return _NO_CHARACTER if removes else None
    prefix, suffix = (model[name] or "" for name in ("continuing_subword_prefix", "end_of_word_suffix"))
    kept = {token.removeprefix(prefix).removesuffix(suffix) for token in vocabulary}
    kept |= {token["content"] for token in tree["added_tokens"] if not token["special"]}
    letters = "".join(re.escape(token) for token in sorted(kept) if len(token) == 1)
    return re.compile(f"[^{SPACES}{spelt}{letters}]")


def _spelt_in_bytes(vocabulary: Collection[str]) -> str:
    """Characters that byte fallback can spell, as ranges of a pattern; it cannot if a byte is not in the vocabulary."""
    bytes_ = {byte for byte in range(256) if f"<0x{byte:02X}>" in vocabulary}
    found = [(byte, byte) for byte in range(0x80) if byte in bytes_]
    if bytes_.issuperset(range(0x80, 0xC0)):  # then each first byte stands for a range of characters
        for byte in sorted(bytes_.intersection(range(0xC2, 0xF5))):
            more = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3  # number of bytes after the first
            start = (byte & (0x3F >> more)) << 6 * more
            found.append((max(start, _FIRST_OF[more]), min(start + (1 << 6 * more), sys.maxunicode + 1) - 1))
    ranges: list[tuple[int, int]] = []
    for first, last in found:
        joined = ranges and ranges[-1][1] + 1 == first
        first = ranges.pop()[0] if joined else first
        ranges.append((first, last))
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in ranges)


def mostly_unknown(encoding: Any, unk_id: int, text: str) -> bool:
    """Whether unknown tokens stand for more than half of the characters of a text that are not white space.

    Counting tokens is not enough: one unknown token may stand for a whole sentence, beside a token for a space.
    """
    lost = done = 0
    for token_id, (first, last) in zip(encoding.ids, encoding.offsets, strict=True):
        if token_id == unk_id and last > done:
            lost += len(_NOT_SPACE.findall(text, max(first, done), last))
            done = last
    return 2 * lost > len(_NOT_SPACE.findall(text))


def mostly_dropped(encoder: Tokenizer, dropped: re.Pattern[str], text: str) -> bool:
    """Whether more than half of a text, without white space, is removed by steps before the model or by the model."""
    normalized = encoder.normalizer.normalize_str(text) if encoder.normalizer is not None else text
    steps = encoder.pre_tokenizer
    words = normalized if steps is None else "".join(word for word, _ in steps.pre_tokenize_str(normalized))
    seen = len(_NOT_SPACE.findall(words))
    return 2 * seen < len(_NOT_SPACE.findall(text)) or 2 * len(dropped.findall(words)) > seen


def occurrences(ids_n: NDArray[Any], token_id: int | None, length_R: NDArray[Any]) -> NDArray[np.int64]:
    """Number of times that a token occurs in each row of a stream; 0 if there is no such token."""
    if token_id is None:
        return np.zeros(len(length_R), np.int64)
    row_k = np.searchsorted(np.cumsum(length_R, dtype=np.int64), np.flatnonzero(ids_n == token_id), side="right")
    return np.bincount(row_k, minlength=len(length_R))


def _objects(tree: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """All JSON objects within a list, at any depth."""
    for value in tree:
        if isinstance(value, dict):
            yield value
            yield from _objects(list(value.values()))
        elif isinstance(value, list):
            yield from _objects(value)
