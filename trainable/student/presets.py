"""The models that this project names: Llamas of fixed or given width, whose sizes are known without transformers."""

from typing import Any, Final

from trainable.config import ModelConfig

# `tiny` is for CPUs; `small-llama2` is the model of the published study, with 1 to 6 of its 12 layers.
PRESETS: Final[dict[str, dict[str, Any]]] = {
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


def preset_keys(config: ModelConfig) -> dict[str, Any]:
    """Keys of the config.json of a preset that decide its sizes, apart from depth and vocabulary."""
    return PRESETS[config.name] | ({} if config.hidden is None else of_width(config.hidden))


def of_width(hidden: int) -> dict[str, Any]:
    """Sizes of a Llama of this width: heads have width 32 if that divides it, else 16 or 8."""
    heads = hidden // next(size for size in (32, 16, 8) if hidden % size == 0)
    inner = 8 * round(hidden * 8 / 3 / 8)
    sizes = {"hidden_size": hidden, "intermediate_size": inner}
    return sizes | {"num_attention_heads": heads, "num_key_value_heads": heads}


def preset_parameters(config: ModelConfig, vocab_size: int) -> int:
    """Number of weights of a preset, without an output bias."""
    keys = preset_keys(config)
    width: int = keys["hidden_size"]
    inner: int = keys["intermediate_size"]
    layer = 4 * width * width + 3 * width * inner + 2 * width  # attention, MLP, norms
    return 2 * vocab_size * width + config.layers * layer + width
