"""Rows that a tokenizer cannot read: it makes no token of them, or mostly its unknown one, or drops most of their text.

A model trained on such rows learns nothing of their text, and its loss looks small. Bytes that stand for an unknown
character (byte fallback) are not unknown.

Shapes: R rows, n tokens.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, pre_tokenizers

SPACES = "\\s\u2581\u0120"  # in a pattern: white space, and what tokenizers write for a space
_NO_CHARACTER = re.compile("(?!)")
_NOT_SPACE = re.compile(f"[^{SPACES}]")


def dropped_characters(tree: dict[str, Any]) -> re.Pattern[str] | None:
    """What the model of a tokenizer (`tree`, as in its file) drops of a text cut into words; None: nothing can be lost.

    Only a BPE without an unknown token drops what it does not know; other steps may remove text by a rule.
    """
    steps = list(_objects([tree["normalizer"], tree["pre_tokenizer"]]))
    removes = any(
        step.get("content") == "" or step.get("behavior") == "Removed" or step.get("type") == "CharDelimiterSplit"
        for step in steps
    )
    model, vocabulary = tree["model"], tree["model"]["vocab"]
    drops = model["type"] == "BPE" and model["unk_token"] is None and not model["byte_fallback"]
    if drops and any(step.get("type") == "ByteLevel" for step in steps):
        drops = any(byte not in vocabulary for byte in pre_tokenizers.ByteLevel.alphabet())
    if not drops:
        return _NO_CHARACTER if removes else None
    prefix, suffix = (model[name] or "" for name in ("continuing_subword_prefix", "end_of_word_suffix"))
    kept = {token.removeprefix(prefix).removesuffix(suffix) for token in vocabulary}
    return re.compile(f"[^{SPACES}{''.join(re.escape(token) for token in sorted(kept) if len(token) == 1)}]")


def mostly_dropped(encoder: Tokenizer, dropped: re.Pattern[str], text: str) -> bool:
    """Whether more than half of what is not white space in a text is removed on the way to the model, or by it."""
    normalized = encoder.normalizer.normalize_str(text) if encoder.normalizer is not None else text
    steps = encoder.pre_tokenizer
    words = normalized if steps is None else "".join(word for word, _ in steps.pre_tokenize_str(normalized))
    seen = len(_NOT_SPACE.findall(words))
    return 2 * seen < len(_NOT_SPACE.findall(text)) or 2 * len(dropped.findall(words)) > seen


def occurrences(ids_n: NDArray[Any], token_id: int | None, length_R: NDArray[Any]) -> NDArray[np.int64]:
    """How often a token occurs in each row of a stream; never where there is no such token."""
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
