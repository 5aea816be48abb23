"""Load a tokenizer from its file, and switch off what makes its tokens random or cuts them."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Tokenizer

from trainable.errors import InputError, require
from trainable.record.files import fingerprint, require_fetched
from trainable.text.tokenizer.special_tokens import SpecialTokens, special_tokens, unknown_id
from trainable.text.tokenizer.unread import dropped_characters

LARGEST = 1_000_000  # vocabulary size
_FOLDER_HINT = "save the fast tokenizer there (tokenizer.save_pretrained), or set tokens.tokenizer to train:4096"


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer that neither truncates nor pads, and that reads a row as text alone: "</s>" in a row is no eos."""

    encoder: Tokenizer = field(repr=False)
    name: str  # as the user gave it
    vocab_size: int  # largest id + 1, added tokens included
    eos_id: int
    bos_id: int | None
    pad_id: int | None
    unk_id: int | None  # id for unknown text; None: no text is unknown, or unknown text is dropped
    dropped: re.Pattern[str] | None = field(repr=False)  # characters that are dropped (text/tokenizer/unread.py)
    fingerprint: str  # of its serialised form and special tokens
    special: SpecialTokens  # texts of the special tokens, and what names eos
    switched_off: tuple[str, ...]  # what its file asks for but is switched off, in words for the user

    @property
    def may_misread(self) -> bool:
        """Whether some text can be unknown or dropped; a tokenizer that is trained here knows every byte."""
        return self.unk_id is not None or self.dropped is not None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by `_unpickled`: a pickled encoder alone forgets its `encode_special_tokens`."""
        return _unpickled, tuple(getattr(self, one.name) for one in fields(self))


def from_files(path: Path | None, spec: str, eos: str | None, find: Callable[[str], Path | None]) -> TextTokenizer:
    """Load a tokenizer.json. find: returns the path of a file beside it, or None; spec, eos: as the user gave them.

    Raises InputError for a file that is missing, damaged or too new, and for a tokenizer without a known end of text.
    """
    if path is None or not path.is_file():
        raise InputError(f"tokenizer {spec!r} has no tokenizer.json: {_FOLDER_HINT}.")
    try:
        require_fetched(path)
        encoder = Tokenizer.from_file(str(path))
    except InputError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise InputError(_unreadable(path, error)) from error
    return _wrapped(encoder, spec, eos, find)


def _unreadable(path: Path, error: Exception) -> str:
    """Message for a tokenizer file that the library refuses: cut short, or of a kind unknown to this version."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        tree = None
    if isinstance(tree, dict) and isinstance(tree.get("model"), dict):
        return (
            f"{path} cannot be read by tokenizers {tokenizers.__version__} ({error}): was it written by a newer "
            "version of tokenizers? Install that one, or give another tokenizer."
        )
    return f"{path} is not a whole tokenizer file ({error}): {_FOLDER_HINT}."


def _wrapped(encoder: Tokenizer, spec: str, eos: str | None, find: Callable[[str], Path | None]) -> TextTokenizer:
    switched_off = tuple(_switch_off(encoder))
    special = special_tokens(encoder, spec, eos, find)
    eos_id = encoder.get_vocab()[special.eos]
    bos_id, pad_id = (None if name is None else encoder.token_to_id(name) for name in (special.bos, special.pad))
    vocab_size = max(encoder.get_vocab().values()) + 1
    require(
        vocab_size <= LARGEST,
        f"tokenizer {spec!r} has ids up to {vocab_size - 1:,}: the model needs a row for each, so at most {LARGEST:,} "
        "can be used; number its tokens from 0.",
    )
    tree = json.loads(encoder.to_str())
    encoder.encode_special_tokens = True
    return TextTokenizer(
        encoder=encoder,
        name=spec,
        vocab_size=vocab_size,
        eos_id=eos_id,
        bos_id=bos_id,
        pad_id=pad_id,
        unk_id=unknown_id(encoder, tree["model"]),
        dropped=dropped_characters(tree),
        fingerprint=fingerprint([tree, eos_id, bos_id, pad_id]),
        special=special,
        switched_off=switched_off,
    )


def _switch_off(encoder: Tokenizer) -> Iterator[str]:
    """Switch off what makes the tokens of a text random, cuts them or adds to them; yield a name for each."""
    if dropout := getattr(encoder.model, "dropout", None):
        encoder.model.dropout = None
        yield f"dropout {dropout:.3g} of its BPE"
    if getattr(encoder.model, "alpha", None) or getattr(encoder.model, "nbest_size", None):
        encoder.model.alpha = encoder.model.nbest_size = None
        yield "sampling of its Unigram model"
    if encoder.truncation is not None:  # many published files would cut every row at some length
        yield f"truncation at {encoder.truncation['max_length']} tokens"
        encoder.no_truncation()
    if encoder.padding is not None:
        encoder.no_padding()
        yield "padding"


def _unpickled(encoder: Tokenizer, *others: Any) -> TextTokenizer:
    encoder.encode_special_tokens = True
    return TextTokenizer(encoder, *others)
