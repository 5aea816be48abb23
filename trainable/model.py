"""The student: transformers' LlamaForCausalLM, built from a preset or from a folder with config.json.

The loop wants two things of it: hidden states, and the output matrix (the loss makes the logits itself).
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from trainable.config import ModelConfig
from trainable.errors import InputError

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
        settings = _read_folder(Path(config.name), vocab_size, context)
    try:
        return LlamaConfig(**(settings | {"num_hidden_layers": config.layers}))
    except Exception as error:  # transformers' own validators, e.g. heads that do not divide the width
        raise InputError(
            f"model {config.name} cannot be built ({error.__cause__ or error}): mend its config.json."
        ) from None


def build_model(config: ModelConfig, *, vocab_size: int, context: int, seed: int) -> LlamaForCausalLM:
    """A freshly initialised float32 student; the same seed gives the same weights on any device (made on the CPU)."""
    llama = llama_config(config, vocab_size, context)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM._from_config(llama, dtype=torch.float32, attn_implementation="sdpa")
    return model


def hidden_states(model: LlamaForCausalLM, input_BxT: Tensor) -> Tensor:
    """Last hidden states [B, T, D] after the final norm."""
    hidden: Tensor = model.model(input_ids=input_BxT, use_cache=False).last_hidden_state
    return hidden


def output_matrix(model: LlamaForCausalLM) -> torch.nn.Parameter:
    """W [V, D]."""
    weight = model.lm_head.weight
    assert isinstance(weight, torch.nn.Parameter)
    return weight


def _read_folder(folder: Path, vocab_size: int, context: int) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"model {str(folder)!r} is neither {' nor '.join(PRESETS)} nor a folder with config.json.")
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): mend it or give another model.") from None
    if settings.get("model_type") != "llama":
        raise InputError(f"{path} has model_type {settings.get('model_type')!r}: only 'llama' can be trained here.")
    if settings.get("vocab_size", 0) < vocab_size:
        raise InputError(
            f"{path} has vocab_size {settings.get('vocab_size')} but the tokenizer has {vocab_size} tokens: "
            "raise vocab_size or give a smaller tokenizer."
        )
    if settings.get("max_position_embeddings", context) < context:
        raise InputError(
            f"{path} has max_position_embeddings {settings['max_position_embeddings']} but blocks have {context} "
            "tokens: lower tokens.context."
        )
    return settings
