"""Any causal language model of transformers, so small that it trains in a moment, and two guided steps of it.

B batch   T time   V rows of the output matrix
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, PreTrainedModel

from trainable.config import ModelConfig
from trainable.student.batches import Batch
from trainable.student.config_keys import UnfitModel
from trainable.student.model import fresh_model, student_config
from trainable.student.tiny_batch import check_trains
from trainable.student.train import backward
from trainable.teacher.counts import count_bigrams
from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import BigramTable

VOCAB, CONTEXT, LAYERS = 96, 32, 2
TOKENS = 90  # of the tokenizer: six rows of the output matrix belong to no token
WEIGHT = 0.6  # of the teacher
# Keys of sizes in most architectures, each as small as the others allow.
_WIDTH = ("hidden_size", "n_embd", "d_model", "dim", "emb_dim", "embedding_size", "word_embed_proj_dim", "dim_embed")
_INNER = (
    *("intermediate_size", "moe_intermediate_size", "ffn_dim", "n_inner", "d_inner", "dff", "dim_ff", "d_ff"),
    *("decoder_ffn_dim", "encoder_ffn_dim", "shared_expert_intermediate_size", "feed_forward_size"),
    *("ffn_hidden_size", "expert_ffn_hidden_size", "shared_intermediate_size", "moe_shared_expert_intermediate_size"),
    *("intermediate_size_mlp", "dense_intermediate_size", "shared_experts_intermediate_size"),
)
_HEADS = (
    *("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads", "encoder_attention_heads"),
    *("num_decoder_attention_heads", "num_encoder_attention_heads", "attention_heads", "num_key_value_heads"),
    *("swa_num_attention_heads", "swa_num_key_value_heads", "linear_num_key_heads", "linear_num_value_heads"),
    *("linear_num_heads",),
)
_HEAD_WIDTH = (
    *("head_dim", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "kv_lora_rank", "q_lora_rank", "rotary_dim"),
    *("linear_key_head_dim", "linear_value_head_dim", "linear_head_dim", "swa_head_dim", "kv_channels", "dim_head"),
    *("query_pre_attn_scalar", "index_head_dim", "mamba_d_head", "mamba_head_dim", "attention_head_size"),
)
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
SMALL: dict[str, Any] = {
    "vocab_size": VOCAB,
    **dict.fromkeys(_WIDTH, 32),
    **dict.fromkeys(_INNER, 32),
    **dict.fromkeys(_HEADS, 4),
    **dict.fromkeys(_HEAD_WIDTH, 8),
    **dict.fromkeys(_EXPERTS, 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("n_group", "topk_group"), 1),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_decoder_layers", "num_encoder_layers"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "max_target_positions"), CONTEXT),
    **dict.fromkeys(("sliding_window", "window_size", "sliding_window_size", "attention_window_size"), 8),
}
_BY_HEADS = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8}
_ROTARY = {"rope_type": "default", "rope_theta": 10_000.0}
EXCEPTIONS: dict[str, dict[str, Any]] = {
    "bamba": _BY_HEADS,
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROTARY}},
    "dbrx": {
        "attn_config": {"kv_n_heads": 4, "clip_qkv": 8.0, "rope_theta": 10_000.0},
        "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v4": {"o_groups": 1, "o_lora_rank": 8},
    "dots1": {"n_shared_experts": 1},
    "falcon_h1": {**_BY_HEADS, "mamba_d_ssm": 64},
    "gemma3n_text": {"num_kv_shared_layers": 0, "vocab_size_per_layer_input": VOCAB, "hidden_size_per_layer_input": 8},
    "gemma4_text": {"vocab_size_per_layer_input": VOCAB, "hidden_size_per_layer_input": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": _BY_HEADS,
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "longcat_flash": {"zero_expert_num": 2, "n_routed_experts": 4, "moe_topk": 2},
    "mamba2": {"num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1},
    "mimo_v2_flash": {"head_dim": 24, "num_key_value_heads": 2},
    "nemotron_h": {"layers_block_type": ["linear_attention", "full_attention"], "mamba_num_heads": 4, "n_groups": 1},
    "roc_bert": {"pronunciation_vocab_size": VOCAB, "shape_vocab_size": VOCAB, "enable_shape": False},
    "zamba": {"layers_block_type": ["hybrid", "hybrid"]},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"], "n_mamba_heads": 4, "mamba_d_state": 8},
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 8},
}
# Text encoders that are causal if the config says so.
IF_TOLD = (
    *("bert", "bert-generation", "big_bird", "electra", "ernie", "megatron-bert", "rembert", "roc_bert", "roformer"),
)


def tiny_settings(kind: str) -> dict[str, Any]:
    """config.json of a tiny model of this type; of one of several parts, with that of its text model alone."""
    parts = CONFIG_MAPPING[kind].sub_configs_defaults
    if "text_config" in parts:
        return {"model_type": kind, "text_config": tiny_settings(parts["text_config"].model_type)}
    known = {one.name for one in dataclasses.fields(CONFIG_MAPPING[kind])}
    sizes = {key: value for key, value in SMALL.items() if key in known}
    told = {"is_decoder": True} if kind in IF_TOLD else {}
    return {"model_type": kind, **sizes, **told, **EXCEPTIONS.get(kind, {})}


def tiny_folder(path: Path, kind: str, **changes: Any) -> ModelConfig:
    """A folder with the config.json of a tiny model of this type, as a setting."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(tiny_settings(kind) | changes))
    return ModelConfig(name=str(path), layers=LAYERS)


def refusal(config: ModelConfig) -> str | None:
    """The reason why a model is refused; None if it is trained."""
    try:
        check_trains(config, TOKENS, CONTEXT)
    except UnfitModel as refused:
        return refused.reason
    return None


class Steps(NamedTuple):
    """Changes of each weight in two steps, by the loop and by dense targets; matrices that get no gradient."""

    ours: list[Tensor]
    dense: list[Tensor]
    untouched: list[str]


def two_steps(config: ModelConfig) -> Steps:
    """Two steps of the loop's guided loss, and two with dense targets for the model's own logits, from equal weights.

    The second is transformers' own forward pass, with the same attention (the tiny batch compares that with another).
    No weight has its default initial value.
    """
    made, table = student_config(config, TOKENS, CONTEXT), bigrams()
    ours, own = fresh_model(made, seed=0), fresh_model(made, seed=0)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in ours.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    own.load_state_dict(ours.state_dict())
    start = [p.detach().clone() for p in ours.parameters()]
    teacher, untouched = BigramTeacher(table), []
    for step in range(2):
        ids_2xT1 = torch.tensor(np.random.default_rng(step).integers(0, TOKENS, (2, CONTEXT)))
        context_2xT, target_2xT = ids_2xT1[:, :-1], ids_2xT1[:, 1:]
        batch = Batch(context_2xT, target_2xT, context_2xT.numpy(), np.arange(2))
        plain, scaler = torch.autocast("cpu", enabled=False), torch.amp.GradScaler("cpu", enabled=False)
        backward(ours, teacher, [batch], target_2xT.numel(), WEIGHT, plain, scaler)
        dense_loss(own, table, context_2xT, target_2xT).backward()
        untouched = [
            name for name, p in ours.named_parameters() if p.grad is None and p.dim() > 1 and "bias" not in name
        ]
        for model in (ours, own):
            torch.optim.SGD(model.parameters(), lr=0.5).step()
            model.zero_grad()
    changes = [
        [p.detach() - before for p, before in zip(model.parameters(), start, strict=True)] for model in (ours, own)
    ]
    return Steps(*changes, untouched)


def dense_loss(model: PreTrainedModel, table: BigramTable, context_2xT: Tensor, target_2xT: Tensor) -> Tensor:
    """Mean cross-entropy of the model's own logits with the whole target distribution of every position."""
    log_p_2xTxV = model(input_ids=context_2xT, use_cache=False).logits.log_softmax(-1)
    of_table = torch.tensor(np.stack([table.row(context) for context in range(TOKENS)]), dtype=torch.float32)
    target_2xTxV = torch.nn.functional.pad(WEIGHT * of_table[context_2xT], (0, VOCAB - TOKENS))
    target_2xTxV += (1 - WEIGHT) * torch.nn.functional.one_hot(target_2xT, VOCAB)
    return -(target_2xTxV * log_p_2xTxV).sum() / target_2xT.numel()


def bigrams() -> BigramTable:
    """A table of made-up text in which tokens follow one another."""
    rng = np.random.default_rng(0)
    stream_N = np.cumsum(rng.integers(0, 9, 4000)) % TOKENS
    counts = count_bigrams(stream_N, TOKENS, first_context=0)
    return estimate_table(counts, "modified_kneser_ney", tokenizer_fingerprint="made up")


def require_equal(steps: Steps) -> None:
    """Require equal changes of all weights, up to rounding, which the second step enlarges in some models (Gemma 4)."""
    largest = max(float(change.abs().max()) for change in steps.dense)
    assert largest > 1e-4, "nothing was learnt"
    for ours, dense in zip(steps.ours, steps.dense, strict=True):
        torch.testing.assert_close(ours, dense, rtol=0, atol=3e-4 * largest)
