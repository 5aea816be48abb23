"""The student: any causal language model of transformers, built from a preset or from a folder with config.json.

The loop needs two things from a student: hidden states, and the output matrix with its bias (the loss makes the logits
itself). The hidden states are the output of the model's own forward pass with the identity in place of the output
layer. So they include everything that an architecture does after its last layer, also a scale of the logits (Cohere,
Granite). Before any trial tiny_batch.py checks that nothing but a scale follows the output layer.

    B batch   T time   V vocabulary   D width
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from trainable.config import ModelConfig
from trainable.errors import InputError, require
from trainable.record.files import user_path
from trainable.student.attention import CAUSAL, register_causal
from trainable.student.config_keys import DEPTHS, PER_LAYER, UnfitModel, default_keys, read_settings, student_keys
from trainable.student.presets import PRESETS, preset_keys

# Architectures that use `CAUSAL` if no layer has a window; tiny_batch.py compares it with transformers' attention.
ALL_CAUSAL: Final = (
    *("llama", "arcee", "cohere", "gemma", "gpt2", "gpt_neox", "granite", "mistral", "mixtral", "nemotron", "olmo"),
    *("olmo2", "opt", "phi", "qwen2", "qwen3", "qwen3_moe", "smollm3", "stablelm"),
)
SPARE_LOG_PROBABILITY = -30.0  # of an output row that stands for no token of the tokenizer


def student_config(config: ModelConfig, vocab_size: int, context: int) -> PreTrainedConfig:
    """Config of the student. Raises InputError for an unknown name, or a folder that does not fit the tokenizer."""
    made = architecture(config, student_settings(config, vocab_size, context))
    if config.name not in PRESETS:
        _check_fits(config, made, vocab_size, context)
    return made


def student_settings(config: ModelConfig, vocab_size: int, context: int) -> dict[str, Any]:
    """Keys and values, as in a config.json, that decide the architecture except for its depth."""
    if config.name in PRESETS:
        settings = {"model_type": "llama", "vocab_size": vocab_size, "max_position_embeddings": context}
        return settings | preset_keys(config)
    if config.hidden is not None:
        raise InputError(
            f"model.hidden is {config.hidden} but the config.json of model {config.name} sets its width: "
            "leave out model.hidden, or set model.name=tiny."
        )
    settings = read_settings(user_path(config.name))
    return {"model_type": settings["model_type"], **student_keys(settings)}


def architecture(config: ModelConfig, settings: Mapping[str, Any]) -> PreTrainedConfig:
    """Make the config of these settings, with model.layers layers. Raises InputError if transformers refuses it."""
    try:
        made = CONFIG_MAPPING[settings["model_type"]](**_as_deep(config, settings))
        heads, groups = (getattr(made, key, None) for key in ("num_attention_heads", "num_key_value_heads"))
        if isinstance(heads, int) and isinstance(groups, int) and (groups < 1 or heads % groups):
            raise ValueError(f"num_attention_heads {heads} is not a multiple of num_key_value_heads {groups}")
    except InputError:
        raise
    except Exception as error:  # from transformers' validators, e.g. heads that do not divide the width
        raise unfit(config, error) from None
    return made


def _as_deep(config: ModelConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with model.layers layers; lists with one entry for each layer are cut to this number."""
    defaults, layers = default_keys(settings["model_type"]), config.layers
    depth = next((key for key in DEPTHS if key in defaults), None)
    lists: dict[str, Any] = {key: settings[key] for key in settings if _is_per_layer(key, settings[key])}
    if "attention_types" in lists:  # of GPT-Neo: [[kinds in turn, repeats], ...]
        lists["attention_types"] = [[[kind], 1] for kinds, times in lists["attention_types"] for kind in kinds * times]
    if depth is None and not lists:
        raise UnfitModel(
            config.name,
            f"transformers' {settings['model_type']} has no number of layers that model.layers could set",
            "give one of another architecture",
        )
    of_lists = max(map(len, lists.values()), default=0)
    before = next((settings[key] for key in DEPTHS if key in settings), defaults[depth] if depth else of_lists)
    lists = {key: value for key, value in lists.items() if len(value) == before}
    for key in lists:
        require(
            layers <= before,
            f"model.layers is {layers} but {key} of model {config.name} has {before} layers: lower model.layers, "
            f"or take {key} out of its config.json.",
        )
    kept = {key: value for key, value in settings.items() if key not in (*DEPTHS, "model_type")}
    return kept | {key: value[:layers] for key, value in lists.items()} | ({depth: layers} if depth else {})


def _is_per_layer(key: str, value: Any) -> bool:
    if isinstance(value, str):  # of Nemotron-H: one letter for each layer
        return key == "hybrid_override_pattern"
    return isinstance(value, list) and (key.endswith("_types") or any(part in key for part in PER_LAYER))


def unfit(config: ModelConfig, error: Exception) -> UnfitModel:
    """Make the error for a model that transformers or PyTorch cannot build or train."""
    reason = " ".join(str(error.__cause__ or error).split()).rstrip(".") or type(error).__name__
    return UnfitModel(config.name, f"unknown value {reason}" if isinstance(error, KeyError) else reason)


def build_model(
    config: ModelConfig, *, vocab_size: int, context: int, seed: int, unigram_V: Tensor | None = None
) -> PreTrainedModel:
    """Build a student with random float32 weights, made on the CPU: a seed gives the same weights for any device.

    unigram_V: log-probabilities of the tokenizer's tokens, the start of an output bias.
    """
    model = fresh_model(student_config(config, vocab_size, context), seed)
    if config.output_bias == "unigram":
        assert unigram_V is not None, "an output bias starts as a unigram"
        start_bias(model, unigram_V)
    return model


def start_bias(model: PreTrainedModel, unigram_V: Tensor) -> None:
    """Set the output bias to a unigram; add a bias if the architecture has none."""
    head = model.get_output_embeddings()
    start_V = over_output_rows(unigram_V, len(head.weight))
    if head.bias is None:
        head.bias = torch.nn.Parameter(start_V)
    else:
        head.bias.data.copy_(start_V)


def has_own_bias(config: ModelConfig) -> bool:
    """Whether the architecture itself has an output bias, which a saved model folder of transformers then keeps."""
    if config.name in PRESETS:
        return False
    with torch.device("meta"):
        model = fresh_model(architecture(config, student_settings(config, vocab_size=1, context=1)), seed=0)
    return output_bias(model) is not None


def over_output_rows(unigram_V: Tensor, rows: int) -> Tensor:
    """Log-probabilities of all output rows; a row that stands for no token gets -30, which is almost no mass."""
    return torch.nn.functional.pad(unigram_V.float(), (0, rows - len(unigram_V)), value=SPARE_LOG_PROBABILITY)


def fresh_model(made: PreTrainedConfig, seed: int, attention: str | None = None) -> PreTrainedModel:
    """Make a model of an architecture with random float32 weights, from the seed alone.

    attention: transformers' name of an attention; None: the fastest that the architecture has. The model gets a copy of
    the config, because transformers writes the attention into it, and two models would share that.
    """
    register_causal()
    if attention is None and made.model_type in ALL_CAUSAL and _sees_all(made):
        attention = CAUSAL
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            deepcopy(made), dtype=torch.float32, attn_implementation=attention, trust_remote_code=False
        )
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None  # some architectures require one; without it here, its row learns as others do
    return model


def _sees_all(made: PreTrainedConfig) -> bool:
    """Whether a position of every layer attends to all positions before it."""
    kinds = set(getattr(made, "layer_types", None) or ())
    return kinds <= {"full_attention"} if kinds else not getattr(made, "sliding_window", None)


def hidden_states(model: PreTrainedModel, input_BxT: Tensor, *, times: float = 1.0, **more: Any) -> Tensor:
    """Hidden states [B, T, D], for which the logits are h W^T + b: the model's forward pass without its output layer.

    more: further inputs of the model. times: factor of the output layer's input, which shows whether anything but a
    scale follows the output layer.
    """
    head = model.get_output_embeddings()
    head.forward = lambda hidden_BxTxD: hidden_BxTxD if times == 1.0 else hidden_BxTxD * times
    try:
        hidden: Tensor = model(input_ids=input_BxT, use_cache=False, **more).logits
    finally:
        del head.forward  # of the instance, so that the method of the class is used again
    return hidden


def output_matrix(model: PreTrainedModel) -> torch.nn.Parameter:
    """Output matrix W [V, D]: a leaf parameter with its own gradient."""
    weight = model.get_output_embeddings().weight
    assert isinstance(weight, torch.nn.Parameter)
    return weight


def output_bias(model: PreTrainedModel) -> torch.nn.Parameter | None:
    """Bias of the logits, [V], or None. Some architectures have one; model.output_bias adds one to the others."""
    bias: torch.nn.Parameter | None = model.get_output_embeddings().bias
    return bias


def _check_fits(config: ModelConfig, made: PreTrainedConfig, vocab_size: int, context: int) -> None:
    path = user_path(config.name) / "config.json"
    if made.vocab_size < vocab_size:
        raise InputError(
            f"{path} has vocab_size {made.vocab_size} but the tokenizer has {vocab_size} tokens: "
            "raise vocab_size or give a smaller tokenizer."
        )
    for key in ("max_position_embeddings", "max_target_positions", "max_seq_len"):
        longest = getattr(made, key, None)
        if isinstance(longest, int) and 0 < longest < context:
            raise InputError(
                f"{path} has {made.attribute_map.get(key, key)} {longest} but blocks have {context} tokens: lower "
                "tokens.context."
            )
