"""The tokenizer: from a folder, from the hub, or trained here on the student's training rows and no others.

A tokenizer trained on validation rows would have seen them, which is a leak; a trained one is kept in the cache under
a fingerprint of the rows it saw. What counts is `tokenizer.json`: a folder with only `tokenizer.model` loses bos and
the prefix space when it is converted. Long rows are cut into `pieces`, for training here as for encoding.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from trainable.errors import InputError, require
from trainable.record.cache import Manifest, built_once
from trainable.record.files import fingerprint, read_foreign_json, user_path
from trainable.text.corpus import Corpus
from trainable.text.hub import hub_file, is_hub_id
from trainable.text.split import RowIds, row_ids_digest

TRAINING_ROWS = 200_000  # a vocabulary needs no more, and the trainer's memory grows with the distinct words
TRAINING_CHARACTERS = 1 << 24  # nor more than a quarter of a million sentences, however long the rows
TRAINING_WORD = 128  # characters without a space; the trainer's time grows with the square of the longest word
_TRAINING = (TRAINING_ROWS, TRAINING_CHARACTERS, TRAINING_WORD)
SMALLEST, LARGEST = 512, 1_000_000  # vocabulary sizes; the alphabet alone is 256 bytes
SMALLEST_TRAINED = 256 + 3  # of a corpus without repeated pairs: bytes and special tokens
PAD, BOS, EOS = "<pad>", "<s>", "</s>"  # ids 0, 1, 2 of a trained tokenizer: bos and eos as in Llama
_EOS_NAMES = (EOS, "<|endoftext|>", "<|end_of_text|>", "<eos>", "[EOS]", "<|eot_id|>", "<|im_end|>")
_BOS_NAMES = (BOS, "<|begin_of_text|>", "<bos>", "[BOS]", "<|startoftext|>")
_PAD_NAMES = (PAD, "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>")
_FOLDER_HINT = "save the fast tokenizer there (tokenizer.save_pretrained), or set tokens.tokenizer to train:4096"


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer that neither cuts nor pads, and to which text is only text: "</s>" in a row is no eos."""

    encoder: Tokenizer = field(repr=False)
    vocab_size: int  # largest id + 1, added tokens included
    eos_id: int
    bos_id: int | None
    pad_id: int | None
    fingerprint: str  # of its serialised form and special tokens

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by `_unpickled`: a pickled encoder alone forgets its `encode_special_tokens`."""
        return _unpickled, (self.encoder, self.vocab_size, self.eos_id, self.bos_id, self.pad_id, self.fingerprint)


def corpus_tokenizer(spec: str, corpus: Corpus, row_ids_R: RowIds, cache: Path) -> TextTokenizer:
    """The tokenizer that `spec` names; trained, if it says so, on the first TRAINING_ROWS of the given rows."""
    seen_R = row_ids_R[:TRAINING_ROWS]
    seen = fingerprint([corpus.fingerprint, corpus.column, row_ids_digest(seen_R)])
    return load_tokenizer(spec, lambda: corpus.texts(seen_R), seen, cache)


def load_tokenizer(
    spec: str, training_texts: Callable[[], Iterator[str]], training_fingerprint: str, cache: Path
) -> TextTokenizer:
    """The tokenizer that `spec` names: "train:<vocabulary size>", a folder with tokenizer.json, or a hub id.

    training_texts: rows to train on, of which the first TRAINING_ROWS are used; `training_fingerprint` stands for them.
    A small corpus may give fewer tokens than asked; the size is then what it is.
    Raises InputError for a wrong size, a missing or damaged file, a hub out of reach, or a tokenizer without eos.
    """
    if is_trained(spec):
        return _trained(_size(spec), training_texts, training_fingerprint, cache)
    path = user_path(spec)
    if spec and path.exists():
        folder = path.parent if path.name == "tokenizer.json" else path
        return _from_files(folder / "tokenizer.json", folder / "tokenizer_config.json", spec)
    require(is_hub_id(spec), f"{spec!r} does not exist: set tokens.tokenizer to a folder, a hub id, or train:4096.")
    path_on_disk = hub_file(spec, "tokenizer.json")
    return _from_files(path_on_disk, hub_file(spec, "tokenizer_config.json", optional=True), spec)


def is_trained(spec: str) -> bool:
    """Whether the tokenizer is trained here, so that the training rows decide it."""
    return spec.startswith("train:")


def known_vocab_size(spec: str) -> int:
    """The least vocabulary size that `spec` is sure to have, after all checks; nothing is trained."""
    if is_trained(spec):
        _size(spec)
        return SMALLEST_TRAINED
    return load_tokenizer(spec, lambda: iter(()), "", Path()).vocab_size


def _size(spec: str) -> int:
    text = spec.removeprefix("train:")
    size = int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else -1
    require(
        SMALLEST <= size <= LARGEST,
        f"tokens.tokenizer is {spec!r}: give a vocabulary size from {SMALLEST} to {LARGEST}, such as train:4096.",
    )
    return size


def _trained(size: int, texts: Callable[[], Iterator[str]], seen: str, cache: Path) -> TextTokenizer:
    folder = cache / "tokenizers" / fingerprint(["bpe", size, seen, *_TRAINING, tokenizers.__version__])

    def build(folder: Path) -> Manifest:
        # pieces begin before a space, so the vocabulary is that of the whole rows
        encoder = train_bpe(pieces_of(islice(texts(), TRAINING_ROWS), TRAINING_WORD, TRAINING_CHARACTERS), size)
        text = encoder.to_str(pretty=True)  # its own `save` has no error of its own for a full disk
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
        return {"asked_size": size, "size": encoder.get_vocab_size(), "training_fingerprint": seen}

    built_once(folder, build)
    return _from_files(folder / "tokenizer.json", None, f"train:{size}")


def train_bpe(texts: Iterator[str], size: int) -> Tokenizer:
    """A byte-level BPE of at most `size` tokens: no text is unknown to it, and the same texts give the same tokens."""
    encoder = Tokenizer(models.BPE())
    # With a prefix space the first word of a row is the same token as inside of one.
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    encoder.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    encoder.train_from_iterator(texts, trainer)
    encoder.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 1)])
    return encoder


def pieces(text: str, limit: int) -> Iterator[str]:
    """The text in order, in parts of at most `limit` characters, each of which begins before a space where it can.

    So no word is cut, but for one that is longer than half of `limit`.
    """
    first = 0
    while len(text) - first > limit:
        space = text.rfind(" ", first + limit // 2, first + limit)
        last = space if space > first else first + limit
        yield text[first:last]
        first = last
    yield text[first:]


def pieces_of(texts: Iterable[str], limit: int, characters: int) -> Iterator[str]:
    """Pieces of the texts, up to so many characters in all."""
    left = characters
    for text in texts:
        for piece in pieces(text, limit):
            if left <= 0:
                return
            yield piece[:left]
            left -= len(piece)


def _from_files(path: Path | None, config_path: Path | None, spec: str) -> TextTokenizer:
    if path is None or not path.is_file():
        raise InputError(f"tokenizer {spec!r} has no tokenizer.json: {_FOLDER_HINT}.")
    try:
        encoder = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"{path} is not a whole tokenizer file ({error}): {_FOLDER_HINT}.") from error
    config = read_foreign_json(config_path) if config_path is not None and config_path.is_file() else {}
    return _wrapped(encoder, config, spec)


def _wrapped(encoder: Tokenizer, config: dict[str, Any], spec: str) -> TextTokenizer:
    encoder.no_truncation()  # many published files would cut every row at some length
    encoder.no_padding()
    eos_id = _special_id(encoder, config.get("eos_token"), _EOS_NAMES)
    if eos_id is None:
        raise InputError(
            f"tokenizer {spec!r} has no end-of-text token: name one of its tokens as eos_token in "
            "tokenizer_config.json beside tokenizer.json."
        )
    bos_id = _special_id(encoder, config.get("bos_token"), _BOS_NAMES)
    pad_id = _special_id(encoder, config.get("pad_token"), _PAD_NAMES)
    vocab_size = max(encoder.get_vocab().values()) + 1
    require(
        vocab_size <= LARGEST,
        f"tokenizer {spec!r} has ids up to {vocab_size - 1:,}: the model needs a row for each, so at most {LARGEST:,} "
        "can be used; number its tokens from 0.",
    )
    digest = fingerprint([json.loads(encoder.to_str()), eos_id, bos_id, pad_id])
    encoder.encode_special_tokens = True
    return TextTokenizer(encoder, vocab_size, eos_id, bos_id, pad_id, digest)


def _unpickled(encoder: Tokenizer, *others: Any) -> TextTokenizer:
    encoder.encode_special_tokens = True
    return TextTokenizer(encoder, *others)


def _special_id(encoder: Tokenizer, named: Any, known: tuple[str, ...]) -> int | None:
    """The id of the token that the configuration names, else of the first known name that is in the vocabulary."""
    name = named.get("content") if isinstance(named, dict) else named
    for token in [name, *known] if isinstance(name, str) else known:
        token_id: int | None = encoder.token_to_id(token)
        if token_id is not None:
            return token_id
    return None
