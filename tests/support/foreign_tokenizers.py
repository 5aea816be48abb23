"""Small tokenizers of the kinds that others publish, as objects and as folders."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from small_corpus import small_sentences
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordPieceTrainer

SPECIAL = ["<unk>", "<s>", "</s>"]
ODD_TEXTS = (
    "naïve café \ufb01ne ① \uff12 \uff21",
    "e\u0301 a\u0308 o\u0302",
    "日本語 テキスト",
    "  double   spaces",
    "\n\n new\tline",
    "🙂👍🏽 e",
    "</s> <x> mid",
)
GPT_4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def word_level(ordinary: Sequence[str], special: Sequence[str] = (), unknown: str = "<unk>") -> Tokenizer:
    """A vocabulary of words: entries of the model, and added tokens marked as special."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(ordinary)}, unk_token=unknown))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([AddedToken(token) for token in special])
    return made


def save(tokenizer: Tokenizer, folder: Path, **config: object) -> Path:
    """Write tokenizer.json, and tokenizer_config.json if it has content, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def changed(folder: Path, **model: object) -> Path:
    """The folder with other values in the model of its tokenizer.json."""
    path = folder / "tokenizer.json"
    tree = json.loads(path.read_text())
    path.write_text(json.dumps(tree | {"model": tree["model"] | model}))
    return folder


def published_kinds() -> dict[str, Tokenizer]:
    """Tokenizers that differ in how they begin a text, cut words, and change characters."""
    in_bytes = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}
    mark = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    plain = normalizers.Sequence(
        [normalizers.Strip(), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    gpt_4 = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(GPT_4), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe, byte_bpe = partial(models.BPE, unk_token="<unk>"), models.BPE
    llama = partial(models.BPE, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    unigram, piece = models.Unigram, partial(models.WordPiece, unk_token="<unk>")
    metaspace = pre_tokenizers.Metaspace
    kinds = {
        "Llama 2": (llama, {}, mark, None),
        "T5": (unigram, {}, normalizers.NFKC(), metaspace(prepend_scheme="always")),
        "Gemma": (bpe, {}, normalizers.NFKC(), metaspace(prepend_scheme="always", split=False)),
        "mark at the first word": (bpe, {}, None, metaspace(prepend_scheme="first", split=False)),
        "bytes, prefix space": (byte_bpe, in_bytes, None, pre_tokenizers.ByteLevel(add_prefix_space=True)),
        "GPT-2": (byte_bpe, in_bytes, normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False)),
        "GPT-4": (byte_bpe, in_bytes, None, gpt_4),
        "BERT": (piece, {}, normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()),
        "plain letters": (bpe, {}, plain, pre_tokenizers.WhitespaceSplit()),
        "drops": (byte_bpe, {}, None, None),
    }
    return {name: _trained(*kind) for name, kind in kinds.items()}


def _trained(model_of: Callable[[], models.Model], more: dict[str, object], norm: object, pre: object) -> Tokenizer:
    model = model_of()  # a new model each time, because training changes it
    made = Tokenizer(model)
    if norm is not None:
        made.normalizer = norm
    if pre is not None:
        made.pre_tokenizer = pre
    if isinstance(pre, pre_tokenizers.ByteLevel):
        made.post_processor = processors.ByteLevel(trim_offsets=True)
    common = {"vocab_size": 450, "special_tokens": SPECIAL, "show_progress": False} | more
    trainers = {models.Unigram: UnigramTrainer, models.WordPiece: WordPieceTrainer}
    trainer = trainers.get(type(model), BpeTrainer)
    if trainer is UnigramTrainer:
        common["unk_token"] = "<unk>"
    made.train_from_iterator([*small_sentences(200), *ODD_TEXTS], trainer(**common))
    return made
