"""The student: transformers' LlamaForCausalLM, built from a preset or from a folder with config.json.

The loop wants two things of it: hidden states, and the output matrix (the loss makes the logits itself).

    B batch   T time   V vocabulary   D width
"""

import difflib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from trainable.config import ModelConfig
from trainable.errors import InputError
from trainable.record.files import read_foreign_json, user_path

# PyTorch's attention, always causal. Under transformers' own name for it ("sdpa"), each forward pass asks the GPU
# whether the batch holds packed sequences, and waits for the answer; ours never does.
CAUSAL = "causal_sdpa"
AttentionInterface.register(CAUSAL, sdpa_attention_forward)
# What decides the size of a model and has no default that anybody would want unasked.
SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "max_position_embeddings")
OLDER_KEYS = ("rope_theta", "rope_scaling", "torch_dtype")  # still read
# `tiny` is made for CPUs; `small-llama2` is the published study's model (12 layers cut to 1-6).
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 344,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
    "small-llama2": {
        "hidden_size": 1024,
        "intermediate_size": 1376,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
}


def llama_config(config: ModelConfig, vocab_size: int, context: int) -> LlamaConfig:
    """The architecture. Raises InputError for an unknown name, or a folder that does not fit the tokenizer."""
    if config.name in PRESETS:
        settings = {"vocab_size": vocab_size, "max_position_embeddings": context} | PRESETS[config.name]
    else:
        settings = _read_folder(user_path(config.name), vocab_size, context)
    try:
        llama = LlamaConfig(**(settings | {"num_hidden_layers": config.layers}))
        if config.name not in PRESETS:
            _try(llama)
    except Exception as error:  # of transformers' validators or of PyTorch, e.g. heads that do not divide the width
        reason = " ".join(str(error.__cause__ or error).split()).rstrip(".") or type(error).__name__
        reason = f"unknown value {reason}" if isinstance(error, KeyError) else reason
        raise InputError(f"model {config.name} cannot be built ({reason}): mend its config.json.") from None
    return llama


def build_model(config: ModelConfig, *, vocab_size: int, context: int, seed: int) -> LlamaForCausalLM:
    """A freshly initialised float32 student; the same seed gives the same weights on any device (made on the CPU)."""
    llama = llama_config(config, vocab_size, context)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM._from_config(llama, dtype=torch.float32, attn_implementation=CAUSAL)
    return model


def hidden_states(model: LlamaForCausalLM, input_BxT: Tensor) -> Tensor:
    """Hidden states [B, T, D] of the last layer, after the final norm."""
    hidden: Tensor = model.model(input_ids=input_BxT, use_cache=False).last_hidden_state
    return hidden


def output_matrix(model: LlamaForCausalLM) -> torch.nn.Parameter:
    """The output matrix W [V, D], a leaf with a gradient of its own."""
    weight = model.lm_head.weight
    assert isinstance(weight, torch.nn.Parameter)
    return weight


def _try(llama: LlamaConfig) -> None:
    """Build one layer without memory, so that what transformers' validators do not see fails before any trial."""
    heads, groups = llama.num_attention_heads, llama.num_key_value_heads
    if groups < 1 or heads % groups:
        raise ValueError(f"num_attention_heads {heads} is not a multiple of num_key_value_heads {groups}")
    if not 0 <= llama.attention_dropout < 1:
        raise ValueError(f"attention_dropout is {llama.attention_dropout}, not in [0, 1)")
    with torch.device("meta"):
        LlamaForCausalLM._from_config(LlamaConfig(**(llama.to_dict() | {"num_hidden_layers": 1})))


def _read_folder(folder: Path, vocab_size: int, context: int) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"model {str(folder)!r} is neither {' nor '.join(PRESETS)} nor a folder with config.json.")
    settings = read_foreign_json(path)
    if settings.get("model_type") != "llama":
        raise InputError(f"{path} has model_type {settings.get('model_type')!r}: only 'llama' can be trained here.")
    _check_keys(path, settings)
    if settings["vocab_size"] < vocab_size:
        raise InputError(
            f"{path} has vocab_size {settings['vocab_size']} but the tokenizer has {vocab_size} tokens: "
            "raise vocab_size or give a smaller tokenizer."
        )
    if settings["max_position_embeddings"] < context:
        raise InputError(
            f"{path} has max_position_embeddings {settings['max_position_embeddings']} but blocks have {context} "
            "tokens: lower tokens.context."
        )
    return settings


def _check_keys(path: Path, settings: dict[str, Any]) -> None:
    """LlamaConfig takes a misspelt key in silence, and then a default of 7 billion parameters."""
    known = {*LlamaConfig().to_dict(), *OLDER_KEYS}
    for key in settings.keys() - known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.88)
        if near:
            raise InputError(f"{path} has the unknown key {key!r}: did you mean {near[0]!r}?")
    for key in SIZES:
        value = settings.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            found = f"{key} {value!r}" if key in settings else f"no {key}"
            raise InputError(f"{path} has {found}: give a whole number of at least 1.")
