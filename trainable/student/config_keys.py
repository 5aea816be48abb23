"""Keys of a model folder's config.json: what each does to the student, and what the plan says of it.

A config.json tells more than an architecture: how its model was padded, cached, regularised, quantised, loaded. Handed
to transformers as it is, some of that changes training without a word: an embedding that never learns (`pad_token_id`),
masks that no resumption can repeat (`attention_dropout`), tuples where objects were expected (`return_dict`). So only
the keys of `ARCHITECTURE` are taken as they are. Those of `SET` have the one value that training here needs; any
dropout is 0. All others are not used: transformers' Llama does not know them, or they tell nothing about training.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from trainable.errors import InputError
from trainable.record.files import fingerprint, read_foreign_json, user_path

# What decides the size of a model and has no default that anybody would want unasked.
SIZES: Final = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "max_position_embeddings")
ARCHITECTURE: Final = (
    *SIZES,
    *("num_key_value_heads", "head_dim", "hidden_act", "rms_norm_eps", "initializer_range"),
    *("rope_parameters", "rope_theta", "rope_scaling"),  # the last two: as older files have them
    *("attention_bias", "mlp_bias", "tie_word_embeddings"),
)
# Of `SET`, what LlamaConfig is told; the others are said to `_from_config`, or to nobody.
_TOLD: Final = (
    *("pad_token_id", "attention_dropout", "return_dict", "output_hidden_states", "output_attentions"),
    "architectures",
)
CAUSAL: Final = ["LlamaForCausalLM"]
SET: Final[dict[str, Any]] = {
    "pad_token_id": None,  # the embedding of a padding token gets no gradient; in packed text it is a token like others
    "attention_dropout": 0.0,  # and whatever else is a dropout (`_is_dropout`): both arms and a resumption see the same
    "return_dict": True,  # the loop reads hidden states by name
    "output_hidden_states": False,  # every layer's, for nobody
    "output_attentions": False,  # takes the slow attention, for nobody
    "attn_implementation": "sdpa",
    "_attn_implementation": "sdpa",
    "dtype": "float32",  # of the weights; loop.precision is that of the products
    "torch_dtype": "float32",
    "quantization_config": None,  # weights are made here, not loaded
    "architectures": CAUSAL,
    "auto_map": None,  # no code of a folder is ever run
    "trust_remote_code": False,
}
# Not worth a word: what model.layers and the tokenizer say, and what does nothing to a Llama that is trained.
QUIET: Final = (
    *("num_hidden_layers", "bos_token_id", "eos_token_id", "use_cache", "model_type", "transformers_version"),
    *("_name_or_path", "chunk_size_feed_forward", "is_encoder_decoder", "id2label", "label2id", "problem_type"),
    "pretraining_tp",
)
_KNOWN: Final = frozenset((*ARCHITECTURE, *SET, *QUIET))


def student_keys(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What LlamaConfig gets of the settings in a config.json."""
    taken = {key: value for key, value in settings.items() if key in ARCHITECTURE}
    return taken | {key: SET[key] for key in _TOLD}


def model_fingerprint(name: str) -> str:
    """Fingerprint of all that decides what a model folder's student is: equal ones, equal students."""
    return fingerprint(student_keys(read_settings(user_path(name))))


def key_lines(name: str) -> list[str]:
    """What the plan says of a model folder's config.json: the keys that are set here, and those that are not used."""
    settings = read_settings(user_path(name))
    changed = list(_changes(settings))
    unused = sorted(key for key in settings if key not in _KNOWN and not _is_dropout(key))
    lines = [f"model {name}: {', '.join(changed)}"] if changed else []
    return lines + ([f"model {name}: not used, for a Llama has no such key: {', '.join(unused)}"] if unused else [])


def read_settings(folder: Path) -> dict[str, Any]:
    """config.json of a model folder. Raises InputError where it is absent, damaged, misspelt, or not of a Llama."""
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"model {str(folder)!r} is neither tiny nor small-llama2 nor a folder with config.json.")
    settings = read_foreign_json(path)
    if settings.get("model_type") != "llama":
        raise InputError(f"{path} has model_type {settings.get('model_type')!r}: only 'llama' can be trained here.")
    _check_keys(path, settings)
    return settings


def _changes(settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        new = 0.0 if _is_dropout(key) else SET.get(key, value)
        if value is not None and new != value and key not in QUIET:
            yield f"{key} {_shown(value)} set to {_shown(new)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value)) or "none"
    return {"None": "none", "0.0": "0"}.get(str(value), "{...}" if isinstance(value, Mapping) else str(value))


def _is_dropout(key: str) -> bool:
    """attention_dropout, hidden_dropout_prob, resid_pdrop, layerdrop, drop_path_rate, ..."""
    return "drop" in key


def _check_keys(path: Path, settings: Mapping[str, Any]) -> None:
    """LlamaConfig takes a misspelt key in silence, and then a default of 7 billion parameters."""
    for key in settings.keys() - _KNOWN:
        near = difflib.get_close_matches(key, sorted(_KNOWN), n=1, cutoff=0.88)
        if near and not _is_dropout(key):
            raise InputError(f"{path} has the unknown key {key!r}: did you mean {near[0]!r}?")
    for key in SIZES:
        value = settings.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            found = f"{key} {value!r}" if key in settings else f"no {key}"
            raise InputError(f"{path} has {found}: give a whole number of at least 1.")
