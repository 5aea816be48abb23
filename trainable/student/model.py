"""The student: transformers' LlamaForCausalLM, built from a preset or from a folder with config.json.

The loop wants two things of it: hidden states, and the output matrix (the loss makes the logits itself).

    B batch   T time   V vocabulary   D width
"""

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from trainable.config import ModelConfig
from trainable.errors import InputError
from trainable.record.files import user_path
from trainable.student.attention import CAUSAL, register_causal
from trainable.student.config_keys import read_settings, student_keys

SPARE_LOG_PROBABILITY = -30.0  # of a row that a model has beyond the tokenizer's tokens
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
        settings |= {} if config.hidden is None else of_width(config.hidden)
    else:
        if config.hidden is not None:
            raise InputError(
                f"model.hidden is {config.hidden} but the width of model {config.name} is what its config.json says: "
                "leave out model.hidden, or set model.name=tiny."
            )
        settings = _read_folder(config.name, vocab_size, context)
    try:
        llama = LlamaConfig(**(settings | {"num_hidden_layers": config.layers}))
        heads, groups = llama.num_attention_heads, llama.num_key_value_heads
        if groups < 1 or heads % groups:
            raise ValueError(f"num_attention_heads {heads} is not a multiple of num_key_value_heads {groups}")
    except Exception as error:  # of transformers' validators, e.g. heads that do not divide the width
        raise unfit(config, error) from None
    return llama


def of_width(hidden: int) -> dict[str, Any]:
    """Sizes of a Llama of another width than its preset's: heads of 32 where that divides it, else of 16 or 8."""
    heads = hidden // next(size for size in (32, 16, 8) if hidden % size == 0)
    inner = 8 * round(hidden * 8 / 3 / 8)
    sizes = {"hidden_size": hidden, "intermediate_size": inner}
    return sizes | {"num_attention_heads": heads, "num_key_value_heads": heads}


def unfit(config: ModelConfig, error: Exception) -> InputError:
    """What to say of a model that transformers or PyTorch will not build or train."""
    reason = " ".join(str(error.__cause__ or error).split()).rstrip(".") or type(error).__name__
    reason = f"unknown value {reason}" if isinstance(error, KeyError) else reason
    return InputError(f"model {config.name} cannot be trained ({reason}): mend its config.json.")


def build_model(
    config: ModelConfig, *, vocab_size: int, context: int, seed: int, unigram_V: Tensor | None = None
) -> LlamaForCausalLM:
    """A freshly initialised float32 student; the same seed gives the same weights on any device (made on the CPU).

    unigram_V: log-probabilities of the tokenizer's tokens, for an output bias.
    """
    llama = llama_config(config, vocab_size, context)
    model = fresh_model(llama, seed)
    if config.output_bias == "unigram":
        assert unigram_V is not None, "an output bias begins as a unigram"
        model.lm_head.bias = torch.nn.Parameter(over_output_rows(unigram_V, llama.vocab_size))
    return model


def over_output_rows(unigram_V: Tensor, rows: int) -> Tensor:
    """Log-probabilities for all rows of the output matrix; rows that stand for no token get e^-30, which is no mass."""
    return torch.nn.functional.pad(unigram_V.float(), (0, rows - len(unigram_V)), value=SPARE_LOG_PROBABILITY)


def fresh_model(llama: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """A model of an architecture with random weights in float32, made from the seed alone."""
    register_causal()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM._from_config(llama, dtype=torch.float32, attn_implementation=CAUSAL)
    return model


def hidden_states(model: LlamaForCausalLM, input_BxT: Tensor, **more: Any) -> Tensor:
    """Hidden states [B, T, D] of the last layer, after the final norm; `more` is what else the model reads."""
    hidden: Tensor = model.model(input_ids=input_BxT, use_cache=False, **more).last_hidden_state
    return hidden


def output_matrix(model: LlamaForCausalLM) -> torch.nn.Parameter:
    """The output matrix W [V, D], a leaf with a gradient of its own."""
    weight = model.lm_head.weight
    assert isinstance(weight, torch.nn.Parameter)
    return weight


def output_bias(model: LlamaForCausalLM) -> torch.nn.Parameter | None:
    """The bias of the logits, [V], or None: transformers' Llama has none of its own."""
    bias: torch.nn.Parameter | None = model.lm_head.bias
    return bias


def _read_folder(name: str, vocab_size: int, context: int) -> dict[str, Any]:
    folder = user_path(name)
    settings, path = student_keys(read_settings(folder)), folder / "config.json"
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
