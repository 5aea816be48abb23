"""Find the tokens that end, begin and pad a text; none is guessed from an ordinary entry of the vocabulary.

A token has one of these roles in two cases:
- tokenizer_config.json or special_tokens_map.json names it, and the vocabulary has it;
- tokenizer.json marks it as special, and it has one of the usual names of the role (KNOWN).

The setting tokens.eos comes before both. A name in those files that the vocabulary lacks is refused: the files were
written for another tokenizer.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer

from trainable.errors import InputError, require
from trainable.record.files import read_foreign_json

TOKENIZER_FILE, CONFIG_FILE, MAP_FILE = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
EOS_SETTING = "tokens.eos"
NONE = (None, "")  # names that mean: there is no such token (some converters write the empty text)
PAD, BOS, EOS = "<pad>", "<s>", "</s>"  # of a tokenizer that is trained here
KNOWN = {  # usual names of special tokens; if no file names one, the first that the tokenizer has is taken
    "eos": (
        EOS,
        "<|endoftext|>",
        "<|end_of_text|>",
        "<eos>",
        "[EOS]",
        "<|eot_id|>",
        "<|im_end|>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",  # DeepSeek
    ),
    "bos": (BOS, "<|begin_of_text|>", "<bos>", "[BOS]", "<|startoftext|>", "<\uff5cbegin\u2581of\u2581sentence\uff5c>"),
    "pad": (PAD, "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<\uff5c\u2581pad\u2581\uff5c>"),
    "unk": (),  # the tokenizer's model names it
}


class SpecialTokens(NamedTuple):
    """Special tokens as text, and what names the end of text."""

    eos: str
    bos: str | None
    pad: str | None
    eos_from: str  # EOS_SETTING, or the file that names it or marks it as special
    other_ends: tuple[str, ...]  # other special tokens that could be eos, if it was taken from TOKENIZER_FILE


def special_tokens(
    encoder: Tokenizer, spec: str, eos: str | None, find: Callable[[str], Path | None] = lambda name: None
) -> SpecialTokens:
    """Find the special tokens of a tokenizer, and mark them as special in `encoder`, as transformers does.

    So their text in a row is only text. spec, eos: as the user gave them; find: returns the path of a file beside the
    tokenizer, or None. Raises InputError for a name that is not text or not in the vocabulary, and if no end of text
    is known.
    """
    files = _files(find)
    special = [token.content for token in encoder.get_added_tokens_decoder().values() if token.special]
    named = {kind: _named(encoder, kind, files if eos is None or kind != "eos" else {}) for kind in KNOWN}
    known = {kind: [name for name in KNOWN[kind] if name in special] for kind in KNOWN}
    if eos is not None:
        require(
            encoder.token_to_id(eos) is not None,
            f"{EOS_SETTING} is {eos!r} but tokenizer {spec!r} has no such token: give one of its tokens"
            f"{', such as ' + special[0] if special else ''}.",
        )
        ends, eos_from = [eos], EOS_SETTING
    elif found := named["eos"]:
        ends, eos_from = [found.text], found.file
    else:
        ends, eos_from = known["eos"], TOKENIZER_FILE
    if not ends:
        marked = f"none of its special tokens ({', '.join(special)}) is known as one" if special else "it marks none"
        raise InputError(
            f"tokenizer {spec!r} has no end-of-text token: no file beside {TOKENIZER_FILE} names an eos_token, and "
            f"{marked}; name one of its tokens with --set {EOS_SETTING}=TOKEN."
        )
    # a null or an empty text in a file says that there is none
    absent = {kind for kind in KNOWN for tree in files.values() if f"{kind}_token" in tree}
    others = {kind: found.text if (found := named[kind]) else None for kind in ("bos", "pad")}
    others |= {kind: known[kind][0] for kind in others if known[kind] and kind not in absent}
    marks = [AddedToken(name, normalized=False) for name in (ends[0], *others.values()) if name not in (*special, None)]
    encoder.add_special_tokens(marks)
    return SpecialTokens(ends[0], others["bos"], others["pad"], eos_from, tuple(ends[1:]))


class _Named(NamedTuple):
    text: str
    file: str


def _files(find: Callable[[str], Path | None]) -> dict[Path, dict[str, Any]]:
    """Read the files that name special tokens; the second counts only if the first names no end of text."""
    files: dict[Path, dict[str, Any]] = {}
    for name in (CONFIG_FILE, MAP_FILE):
        if (path := find(name)) is not None:
            files[path] = read_foreign_json(path)
            if files[path].get("eos_token") not in NONE:
                break
    return files


def _named(encoder: Tokenizer, kind: str, files: dict[Path, dict[str, Any]]) -> _Named | None:
    """Token of this kind that the first of the files names, with that file; None if no file names one."""
    for path, tree in files.items():
        value = tree.get(f"{kind}_token")
        if value in NONE:
            continue
        text = value.get("content") if isinstance(value, dict) else value
        setting = f", or give --set {EOS_SETTING}=TOKEN" if kind == "eos" else ""
        if not isinstance(text, str):
            raise InputError(f"{path} gives {value!r} as {kind}_token: write the text of one token there{setting}.")
        require(
            encoder.token_to_id(text) is not None,
            f"{path} names {text!r} as {kind}_token but {TOKENIZER_FILE} has no such token: correct the name, save the "
            f"tokenizer again (tokenizer.save_pretrained){setting}.",
        )
        return _Named(text, path.name)
    return None


def unknown_id(encoder: Tokenizer, model: dict[str, Any]) -> int | None:
    """Id of the token that the tokenizer's model (as in its file) gives for unknown text, or None."""
    named = model.get("unk_token")
    found: int | None = model.get("unk_id") if named is None else encoder.token_to_id(named)
    return found
