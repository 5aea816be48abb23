"""Keys of a model folder's config.json: their effect on the student, and what the plan says about them.

A config.json describes not only an architecture, but also how the model was padded, cached, regularised, quantised and
loaded. Some of these keys would change training without a message: an embedding that never learns (`pad_token_id`),
masks that a resumed run cannot repeat (any dropout), tuples in place of objects (`return_dict`). So each key of `SET`
gets the one value that training here needs, any dropout is 0, and the keys of `QUIET` are left out. From the config of
a Llama only the keys of `LLAMA` are used beside these, because transformers' Llama has no others; from the config of
any other architecture all other keys are used.

Of a model for text and images or sound, only the text model is used.
"""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, get_args

from trainable.errors import InputError
from trainable.record.files import fingerprint, read_foreign_json, user_path

# Keys that the config.json of a Llama must have: they decide its size, and transformers' defaults are very large.
SIZES: Final = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "max_position_embeddings")
LLAMA: Final = (
    *SIZES,
    *("num_key_value_heads", "head_dim", "hidden_act", "rms_norm_eps", "initializer_range"),
    *("rope_parameters", "rope_theta", "rope_scaling"),  # the last two are in older files
    *("attention_bias", "mlp_bias", "tie_word_embeddings"),
)
# Keys of `SET` that a config gets; the others are arguments of `from_config`, or are left out.
_TOLD: Final = (
    *("pad_token_id", "attention_dropout", "return_dict", "output_hidden_states", "output_attentions"),
    "architectures",
)
SET: Final[dict[str, Any]] = {
    "pad_token_id": None,  # else one embedding gets no gradient; in packed text its token is like any other
    "attention_dropout": 0.0,  # like all that is random (`is_random`): both arms and a resumed run must see the same
    "return_dict": True,  # the loop reads outputs by name
    "output_hidden_states": False,  # nothing reads the hidden states of all layers
    "output_attentions": False,  # nothing reads attentions, and they need the slow attention
    "attn_implementation": "sdpa",  # if the architecture has it (student/model.py)
    "_attn_implementation": "sdpa",
    "dtype": "float32",  # of the weights; loop.precision is the precision of products
    "torch_dtype": "float32",
    "quantization_config": None,  # weights are initialised, not loaded
    "architectures": ["LlamaForCausalLM"],  # for another architecture, its own class
    "auto_map": None,  # code of a folder is never run
    "trust_remote_code": False,
}
# Keys left out without a message: model.layers or the tokenizer decides them, or they have no effect on training.
QUIET: Final = (
    *("num_hidden_layers", "bos_token_id", "eos_token_id", "use_cache", "model_type", "transformers_version"),
    *("_name_or_path", "chunk_size_feed_forward", "is_encoder_decoder", "id2label", "label2id", "problem_type"),
    *("pretraining_tp", "experts_implementation", "_experts_implementation"),
)
# Names of the number of layers in all architectures; names for a decoder come first.
DEPTHS: Final = ("decoder_layers", "num_decoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers")
# Parts of names of lists with one entry for each layer, which are cut to the number of layers, as `..._types` are.
PER_LAYER: Final = ("layer", "pattern", "intermediate_size", "num_attention_heads", "num_key_value_heads")
_PADDED: Final = "its position numbers start after a padding token, and packed text has none"
_CODES: Final = "it predicts several audio codes at each step, not one token"
# {model_type: reason} of transformers' causal language models that cannot be trained on packed text at all.
REFUSED: Final[dict[str, str]] = {
    **dict.fromkeys(("camembert", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta"), _PADDED),
    **dict.fromkeys(("xlm-roberta-xl", "xmod", "prophetnet", "xlm"), _PADDED),
    **dict.fromkeys(("musicgen", "musicgen_melody"), _CODES),
    **dict.fromkeys(
        ("gemma4_assistant", "gemma4_unified_assistant"), "it drafts for another model and reads its hidden states"
    ),
    "blt": "it reads patches of bytes, which a second model cuts",
    "git": "its own loss is that of captions, which begin after the tokens of an image",
    "phi4_multimodal": "most of its weights are for images and sound, and text does not train them",
    "reformer": "its attention uses random hashes, and blocks of one length only",
}
# {model_type: keys} that have one value here for this architecture.
SET_OF: Final[dict[str, dict[str, Any]]] = {
    "big_bird": {"attention_type": "original_full"},  # its sparse attention reads later tokens, at random
}
_FOR_OTHER_TASKS: Final = ("classifier", "summary")  # beginnings of the names of keys that no language model reads


class UnfitModel(InputError):
    """A model that cannot be trained here. `reason` stands in the message; `remedy` says what the user can do."""

    def __init__(self, name: str, reason: str, remedy: str = "mend its config.json"):
        super().__init__(f"model {name} cannot be trained ({reason}): {remedy}.")
        self.reason = reason


def student_keys(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a config.json that the config of the architecture gets, with their values here."""
    kind = settings["model_type"]
    if kind == "llama":
        return {key: settings[key] for key in settings if key in LLAMA} | {key: SET[key] for key in _TOLD}
    taken = {key: value for key, value in settings.items() if key in DEPTHS or key not in (*QUIET, *SET)}
    still = {key: 0.0 for key, value in (default_keys(kind) | dict(settings)).items() if is_random(key, value)}
    told = {key: SET[key] for key in _TOLD if key not in ("attention_dropout", "architectures")}
    told |= {key: None for key in ("bos_token_id", "eos_token_id") if takes_none(kind, key)}  # the tokenizer has them
    if not takes_none(kind, "pad_token_id"):
        told["pad_token_id"] = 0  # any token: student/model.py makes its row learn anyway
    return {"model_type": kind, **taken, **still, **told, **SET_OF.get(kind, {})}


def model_fingerprint(name: str) -> str:
    """Fingerprint of the keys that shape the student of a model folder: equal fingerprints mean equal students."""
    return fingerprint(student_keys(read_settings(user_path(name))))


def key_lines(name: str) -> list[str]:
    """Lines of the plan on a model folder's config.json: keys whose value is changed here, and unused keys."""
    settings = read_settings(user_path(name))
    kind = settings["model_type"]
    changed = list(_changes(settings))
    unknown = sorted(key for key in settings if key not in _known(kind) and not is_random(key))
    whole = read_foreign_json(user_path(name) / "config.json").get("model_type")
    lines = [] if whole == kind else [f"model {name}: of {whole} only the text model is used, {kind}"]
    lines += [f"model {name}: {', '.join(changed)}"] if changed else []
    if unknown and kind == "llama":
        lines.append(f"model {name}: not used, because a Llama has no such key: {', '.join(unknown)}")
    elif unknown:
        lines.append(f"model {name}: unknown to transformers' {kind}, which may not use them: {', '.join(unknown)}")
    return lines


def read_settings(folder: Path) -> dict[str, Any]:
    """Read config.json of a model folder; of a model of several parts, the settings of its text model.

    Raises InputError if the file is absent, damaged or misspelt, or is not that of a language model.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"model {str(folder)!r} is neither tiny nor small-llama2 nor a folder with config.json.")
    settings = read_foreign_json(path)
    whole = settings.get("model_type")
    if isinstance(text := settings.get("text_config"), Mapping):
        tied = {key: settings[key] for key in ("tie_word_embeddings",) if key in settings}
        settings = {"model_type": _text_type(whole), **tied, **text}
    kind = settings.get("model_type")
    if kind != "llama" and (not isinstance(kind, str) or kind not in language_models()):
        part = "" if kind == whole else f" of its text model (the whole is of {whole!r})"
        raise UnfitModel(
            str(folder),
            f"model_type {kind!r}{part} is no causal language model of the installed transformers",
            "give a config.json that AutoModelForCausalLM accepts",
        )
    _check_keys(path, settings)
    for one in (str(whole), kind):
        if one in REFUSED:
            raise UnfitModel(str(folder), REFUSED[one], "give one of another architecture (trainable/README.md)")
    return settings


def language_models() -> Mapping[str, str]:
    """Return {model_type: class of its causal language model} of the installed transformers."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    names: Mapping[str, str] = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return names


def is_random(key: str, value: Any = 0.0) -> bool:
    """Whether a key sets an amount of randomness in training: attention_dropout, layerdrop, router_jitter_noise, ..."""
    return isinstance(value, int | float) and not isinstance(value, bool) and ("drop" in key or "jitter" in key)


def _text_type(kind: Any) -> str | None:
    """Return model_type of the text part of a model of several parts, or None."""
    from transformers import CONFIG_MAPPING

    parts = CONFIG_MAPPING[kind].sub_configs_defaults if isinstance(kind, str) and kind in CONFIG_MAPPING else {}
    found: str | None = parts["text_config"].model_type if "text_config" in parts else None
    return found


@lru_cache
def default_keys(kind: str) -> dict[str, Any]:
    """Return {key: default} of an architecture's config."""
    from transformers import CONFIG_MAPPING

    return {one.name: one.default for one in dataclasses.fields(CONFIG_MAPPING[kind])}


def takes_none(kind: str, key: str) -> bool:
    """Whether the value of a key may be None in an architecture's config."""
    from transformers import CONFIG_MAPPING

    types = {one.name: one.type for one in dataclasses.fields(CONFIG_MAPPING[kind])}
    return key not in types or type(None) in get_args(types[key])


@lru_cache
def _known(kind: str) -> frozenset[str]:
    """Keys that an architecture's config may have."""
    if kind == "llama":
        return frozenset((*LLAMA, *SET, *QUIET))
    from transformers import CONFIG_MAPPING

    of_rotation = ("rope_theta", "rope_scaling") if "rope_parameters" in default_keys(kind) else ()
    return frozenset((*default_keys(kind), *CONFIG_MAPPING[kind].attribute_map, *SET, *QUIET, *of_rotation))


def _changes(settings: Mapping[str, Any]) -> Iterator[str]:
    kind = settings["model_type"]
    known = dict(settings)
    if kind != "llama":  # a Llama's own defaults are those set here
        ours = ("pad_token_id", *SET_OF.get(kind, ()))
        known = {key: value for key, value in default_keys(kind).items() if is_random(key) or key in ours} | known
    for key, value in known.items():
        if value is None or key in QUIET or key.startswith(_FOR_OTHER_TASKS):
            continue
        new = 0.0 if is_random(key, value) else (SET | SET_OF.get(kind, {})).get(key, value)
        if key == "architectures" and kind != "llama":
            new = [language_models()[kind]]
        if new != value:
            yield f"{key} {_shown(value)} set to {_shown(new)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value)) or "none"
    return {"None": "none", "0.0": "0"}.get(str(value), "{...}" if isinstance(value, Mapping) else str(value))


def _check_keys(path: Path, settings: Mapping[str, Any]) -> None:
    """Raise InputError for a misspelt key or a wrong size: transformers would take its defaults, of 7 B parameters."""
    kind = settings["model_type"]
    known = _known(kind)
    for key in settings.keys() - known:
        near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.88)
        if near and not is_random(key):
            raise InputError(f"{path} has the unknown key {key!r}: did you mean {near[0]!r}?")
    for key in SIZES if kind == "llama" else ():
        value = settings.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            found = f"{key} {value!r}" if key in settings else f"no {key}"
            raise InputError(f"{path} has {found}: give a whole number of at least 1.")
    if kind != "llama" and settings.get("output_router_logits"):
        raise UnfitModel(
            str(path.parent),
            "with output_router_logits its own loss adds a part for the balance of experts to cross-entropy",
            "set output_router_logits to false in its config.json, to train without this part",
        )
