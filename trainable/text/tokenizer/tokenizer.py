"""Get the tokenizer: from a folder, from the hub, or trained here on the student's training rows and no others.

A tokenizer trained on validation rows would have seen them, which is a leak. A trained one is kept in the cache under a
fingerprint of the rows it saw. A given tokenizer must have `tokenizer.json`: one with only `tokenizer.model` loses bos
and the prefix space when it is converted. tokenizer_file.py reads the file, encode.py makes tokens with it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from trainable.errors import require
from trainable.record.cache import Manifest, built_once
from trainable.record.files import fingerprint, user_path
from trainable.text.corpus import Corpus
from trainable.text.sources.hub import UnknownFile, hub_file, is_hub_id
from trainable.text.split import RowIds, row_ids_digest
from trainable.text.tokenizer.special_tokens import BOS, EOS, PAD, TOKENIZER_FILE
from trainable.text.tokenizer.tokenizer_file import LARGEST, from_files
from trainable.text.tokenizer.tokenizer_file import TextTokenizer as TextTokenizer

TRAINING_ROWS = 200_000  # a vocabulary needs no more, and the trainer's memory grows with the number of distinct words
TRAINING_CHARACTERS = 1 << 24  # a quarter of a million sentences: a vocabulary needs no more, however long the rows
TRAINING_WORD = 128  # longest run of characters without a space; the trainer's time grows with the square of this
_TRAINING = (TRAINING_ROWS, TRAINING_CHARACTERS, TRAINING_WORD)
SMALLEST = 512  # vocabulary size; the alphabet alone is 256 bytes
SMALLEST_TRAINED = 256 + 3  # vocabulary size for a corpus without repeated pairs: bytes and special tokens


def corpus_tokenizer(
    spec: str, corpus: Corpus, row_ids_R: RowIds, cache: Path, *, eos: str | None = None
) -> TextTokenizer:
    """Load the tokenizer that `spec` names, or train one on rows of a corpus.

    spec: a folder with tokenizer.json, such a file, a Hugging Face hub id, or "train:<vocabulary size>", a byte-level
    BPE trained on the first 200,000 of the rows `row_ids_R` of `corpus` (give training rows alone) and kept in the
    folder `cache`. eos: the token that ends a row, instead of the one that the tokenizer's own files name.
    Truncation, padding and dropout are switched off. Counts and models need `tokenizer.vocab_size` and
    `tokenizer.eos_id`; a teacher table keeps `tokenizer.fingerprint`.
    Raises InputError for a wrong size, a missing or damaged file, a hub out of reach, or an unknown end of text.
    """
    if not is_trained(spec):
        return given_tokenizer(spec, eos)
    seen_R = row_ids_R[:TRAINING_ROWS]
    seen = fingerprint([corpus.fingerprint, corpus.column, row_ids_digest(seen_R)])
    return load_tokenizer(spec, lambda: corpus.texts(seen_R), seen, cache)


def load_tokenizer(
    spec: str, training_texts: Callable[[], Iterator[str]], training_fingerprint: str, cache: Path
) -> TextTokenizer:
    """Load or train the tokenizer that `spec` names: "train:<vocabulary size>", a folder or file, or a hub id.

    training_texts: rows to train on, of which the first TRAINING_ROWS are used; `training_fingerprint` stands for them.
    A small corpus may give a smaller vocabulary than asked for.
    Raises InputError for a wrong size, and as `given_tokenizer` does.
    """
    if not is_trained(spec):
        return given_tokenizer(spec)
    return _trained(_size(spec), training_texts, training_fingerprint, cache)


def given_tokenizer(spec: str, eos: str | None = None) -> TextTokenizer:
    """Load the tokenizer of a folder, a file or a hub id. eos: its end of text, instead of the one its files name.

    Raises InputError for a missing or damaged file, a hub out of reach, or a tokenizer without a known end of text.
    """
    path = user_path(spec)
    if spec and path.is_file() and path.name != TOKENIZER_FILE:  # by `Tokenizer.save`; files beside it belong to others
        return from_files(path, spec, eos, lambda name: None)
    if spec and path.exists():
        folder = path.parent if path.name == TOKENIZER_FILE else path
        return from_files(folder / TOKENIZER_FILE, spec, eos, partial(_file_of_folder, folder))
    require(is_hub_id(spec), f"{spec!r} does not exist: set tokens.tokenizer to a folder, a hub id, or train:4096.")
    return from_files(hub_file(spec, TOKENIZER_FILE), spec, eos, partial(_file_of_hub, spec, eos))


def is_trained(spec: str) -> bool:
    """Whether the tokenizer is trained here, so that the training rows decide it."""
    return spec.startswith("train:")


def known_vocab_size(spec: str, eos: str | None) -> int:
    """Smallest vocabulary size that `spec` can have, after all checks; nothing is trained."""
    if is_trained(spec):
        _size(spec)
        return SMALLEST_TRAINED
    return given_tokenizer(spec, eos).vocab_size


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
        # pieces begin before a space, so they give the same vocabulary as whole rows
        encoder = train_bpe(pieces_of(islice(texts(), TRAINING_ROWS), TRAINING_WORD, TRAINING_CHARACTERS), size)
        text = encoder.to_str(pretty=True)  # `encoder.save` has no distinct error for a full disk
        (folder / TOKENIZER_FILE).write_text(text, encoding="utf-8")
        return {"asked_size": size, "size": encoder.get_vocab_size(), "training_fingerprint": seen}

    built_once(folder, build)
    return from_files(folder / TOKENIZER_FILE, f"train:{size}", None, lambda name: None)


def train_bpe(texts: Iterator[str], size: int) -> Tokenizer:
    """A byte-level BPE of at most `size` tokens: no text is unknown to it, and the same texts give the same tokens."""
    encoder = Tokenizer(models.BPE())
    # With a prefix space, a word at the start of a row is the same token as inside a row.
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
    """Cut the text into parts of at most `limit` characters, each of which begins before a space if possible.

    So no word is cut, except a word that is longer than half of `limit`.
    """
    first = 0
    while len(text) - first > limit:
        space = text.rfind(" ", first + limit // 2, first + limit)
        last = space if space > first else first + limit
        yield text[first:last]
        first = last
    yield text[first:]


def pieces_of(texts: Iterable[str], limit: int, characters: int) -> Iterator[str]:
    """Yield pieces of the texts, with at most `characters` characters in all."""
    left = characters
    for text in texts:
        for piece in pieces(text, limit):
            if left <= 0:
                return
            yield piece[:left]
            left -= len(piece)


def _file_of_folder(folder: Path, name: str) -> Path | None:
    """Path of a file in the tokenizer's folder, or None. Raises InputError for a link to a file that is gone."""
    path = folder / name
    require(
        path.exists() or not path.is_symlink(),
        f"{path} is a link to a file that is gone: download it again, or remove the link.",
    )
    return path if path.is_file() else None


def _file_of_hub(hub_id: str, eos: str | None, name: str) -> Path | None:
    """Path of a file in a hub repository, or None. Raises UnknownFile if it is needed for eos but out of reach."""
    try:
        return hub_file(hub_id, name, optional=True)
    except UnknownFile:
        if eos is None:
            raise
        return None
