"""The student: size, precision, seeds, and folders that do not fit."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_decoders import CONTEXT, TOKENS, VOCAB, tiny_folder
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedConfig, PreTrainedModel

from trainable.config import ModelConfig, OptimizerConfig
from trainable.errors import InputError
from trainable.student.model import (
    CAUSAL,
    build_model,
    fresh_model,
    hidden_states,
    output_bias,
    output_matrix,
    student_config,
)
from trainable.student.optimizer import make_optimizer


@pytest.mark.parametrize(
    ("layers", "parameters"),
    [(1, 73_960_448), (2, 82_383_872), (3, 90_807_296), (6, 116_077_568), (12, 166_618_112)],
)
def test_small_llama2_has_the_published_number_of_parameters(layers: int, parameters: int) -> None:
    config = student_config(ModelConfig(name="small-llama2", layers=layers), vocab_size=32_000, context=1024)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert not config.tie_word_embeddings
    assert config.rope_parameters["rope_theta"] == 1e4
    assert (config.rms_norm_eps, config.initializer_range) == (1e-5, 0.02)


@pytest.mark.parametrize(
    ("hidden", "inner", "heads"), [(None, 344, 4), (128, 344, 4), (64, 168, 2), (8, 24, 1), (40, 104, 5), (48, 128, 3)]
)
def test_a_width_sets_the_number_of_heads_and_the_inner_width(hidden: int | None, inner: int, heads: int) -> None:
    """The preset's own width gives the heads and the inner width of the preset."""
    config = student_config(ModelConfig(hidden=hidden), vocab_size=300, context=16)
    assert (config.hidden_size, config.intermediate_size) == (hidden or 128, inner)
    assert (config.num_attention_heads, config.num_key_value_heads) == (heads, heads)


def test_a_width_beside_a_folder_is_refused(tmp_path: Path) -> None:
    config = replace(folder(tmp_path), hidden=64)
    with pytest.raises(InputError, match=r"model.hidden is 64 but the config.json of model .* sets its width"):
        student_config(config, vocab_size=300, context=16)


def tiny(seed: int) -> LlamaForCausalLM:
    return build_model(ModelConfig(name="tiny"), vocab_size=300, context=16, seed=seed)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    assert torch.equal(output_matrix(tiny(0)), output_matrix(tiny(0)))
    assert not torch.equal(output_matrix(tiny(0)), output_matrix(tiny(1)))


def test_an_output_bias_is_at_first_the_unigram_and_all_other_weights_are_as_without_it() -> None:
    unigram_V = torch.randn(300).log_softmax(0)
    biased, plain = (
        build_model(ModelConfig(output_bias=bias), vocab_size=300, context=16, seed=0, unigram_V=unigram_V)
        for bias in ("unigram", "none")
    )
    assert output_bias(plain) is None
    state = biased.state_dict()
    assert torch.equal(state.pop("lm_head.bias"), unigram_V)
    assert all(torch.equal(weight, plain.state_dict()[name]) for name, weight in state.items())
    assert state.keys() == plain.state_dict().keys()


def test_output_rows_that_stand_for_no_token_begin_with_almost_no_probability(tmp_path: Path) -> None:
    config = replace(folder(tmp_path), output_bias="unigram")
    model = build_model(config, vocab_size=300, context=16, seed=0, unigram_V=torch.full((300,), -math.log(300)))
    bias_V = output_bias(model)
    assert bias_V is not None and bias_V.shape == (320,)
    assert bias_V.exp()[300:].sum() < 1e-11


def test_an_output_bias_has_no_weight_decay() -> None:
    unigram_V = torch.zeros(300)
    model = build_model(ModelConfig(output_bias="unigram"), vocab_size=300, context=16, seed=0, unigram_V=unigram_V)
    groups = make_optimizer(model, OptimizerConfig(weight_decay=0.1)).param_groups
    assert [group["weight_decay"] for group in groups if any(p is output_bias(model) for p in group["params"])] == [0.0]


def test_building_a_model_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    tiny(0)
    assert torch.equal(torch.random.get_rng_state(), before)


LLAMA = {
    "model_type": "llama",
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_hidden_layers": 9,
    "max_position_embeddings": 64,
    "dtype": "float16",
}


def folder(path: Path, **changes: Any) -> ModelConfig:
    (path / "config.json").write_text(json.dumps(LLAMA | changes))
    return ModelConfig(name=str(path), layers=2)


def test_a_folder_gives_its_architecture_in_float32_at_the_depth_asked_for(tmp_path: Path) -> None:
    model = build_model(folder(tmp_path), vocab_size=300, context=16, seed=0)
    assert output_matrix(model).shape == (320, 32)
    assert output_matrix(model).dtype == torch.float32
    assert len(model.model.layers) == 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "t5"}, "model_type 't5' is no causal language model of the installed transformers"),
        ({"model_type": ["llama"]}, "is no causal language model"),
        ({"vocab_size": 299}, "vocab_size 299 but the tokenizer has 300"),
        ({"hidden_size": 30}, r"hidden size \(30\) is not a multiple of .* heads"),
        ({"max_position_embeddings": 8}, "lower tokens.context"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        student_config(folder(tmp_path, **changes), vocab_size=300, context=16)


def test_a_folder_without_a_readable_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nor a folder with config\.json"):
        student_config(ModelConfig(name=str(tmp_path)), vocab_size=300, context=16)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        student_config(ModelConfig(name=str(tmp_path)), vocab_size=300, context=16)


def logits_by_hand(model: PreTrainedModel, ids_BxT: Tensor) -> Tensor:
    bias_V = output_bias(model)
    return hidden_states(model, ids_BxT) @ output_matrix(model).t() + (0 if bias_V is None else bias_V)


@pytest.mark.parametrize(
    ("kind", "changes", "about"),
    [
        ("llama", {}, "no scale, bias or projection"),
        ("cohere", {"logit_scale": 0.25}, "a scale of logits"),
        ("granite", {"logits_scaling": 4.0}, "a divisor of logits"),
        ("phi", {}, "a bias"),
        ("opt", {"word_embed_proj_dim": 16}, "a projection before the head"),
        ("bert", {}, "a transform before the head"),
    ],
)
def test_hidden_states_times_the_output_matrix_plus_its_bias_are_the_models_own_logits(
    tmp_path: Path, kind: str, changes: dict[str, Any], about: str
) -> None:
    model = fresh_model(student_config(tiny_folder(tmp_path, kind, **changes), TOKENS, CONTEXT), seed=0)
    ids_2xT = torch.arange(2 * CONTEXT).view(2, CONTEXT)
    own = model(input_ids=ids_2xT).logits
    torch.testing.assert_close(logits_by_hand(model, ids_2xT), own, rtol=0, atol=1e-6, msg=about)
    assert torch.equal(model(input_ids=ids_2xT).logits, own), "hidden_states has changed the model"


def test_a_scale_of_the_logits_scales_the_hidden_states(tmp_path: Path) -> None:
    ids_1xT = torch.arange(CONTEXT).unsqueeze(0)
    plain, scaled = (
        hidden_states(
            fresh_model(student_config(tiny_folder(tmp_path, "cohere", logit_scale=scale), TOKENS, CONTEXT), 0), ids_1xT
        )
        for scale in (1.0, 0.25)
    )
    torch.testing.assert_close(scaled, 0.25 * plain)


def test_an_output_bias_of_the_architecture_starts_at_the_unigram_if_output_bias_is_unigram(tmp_path: Path) -> None:
    unigram_V = torch.randn(TOKENS).log_softmax(0)
    config = tiny_folder(tmp_path, "phi")
    own, told = (
        build_model(replace(config, output_bias=bias), vocab_size=TOKENS, context=CONTEXT, seed=0, unigram_V=unigram_V)
        for bias in ("none", "unigram")
    )
    assert output_bias(own).shape == output_bias(told).shape == (VOCAB,)
    assert not output_bias(own).any(), "transformers does not start this bias at 0"
    assert torch.equal(output_bias(told)[:TOKENS], unigram_V)
    assert all(
        torch.equal(told.state_dict()[name], w) for name, w in own.state_dict().items() if "lm_head.b" not in name
    )


def depth_of(tmp_path: Path, kind: str, layers: int, **changes: Any) -> PreTrainedConfig:
    return student_config(replace(tiny_folder(tmp_path, kind, **changes), layers=layers), TOKENS, CONTEXT)


@pytest.mark.parametrize(("kind", "key"), [("gpt2", "n_layer"), ("gpt_neo", "num_layers"), ("bart", "decoder_layers")])
def test_layers_set_the_depth_whatever_its_key_is_called(tmp_path: Path, kind: str, key: str) -> None:
    changes = {"attention_types": [[["global", "local"], 2]], "num_layers": 4} if kind == "gpt_neo" else {}
    assert getattr(depth_of(tmp_path, kind, 1, **changes), key) == 1


def test_lists_with_one_entry_for_each_layer_are_cut_to_the_depth(tmp_path: Path) -> None:
    turns = ["sliding_attention", "full_attention"] * 2
    made = depth_of(tmp_path, "qwen3", 2, num_hidden_layers=4, layer_types=turns, use_sliding_window=True)
    assert (made.num_hidden_layers, made.layer_types) == (2, turns[:2])
    made = depth_of(tmp_path, "gpt_neo", 3, num_layers=4, attention_types=[[["global", "local"], 2]])
    assert made.attention_layers == ["global", "local", "global"]
    blocks = ["linear_attention", "full_attention", "mlp"]
    assert depth_of(tmp_path, "nemotron_h", 2, layers_block_type=blocks).layers_block_type == blocks[:2]
    with pytest.raises(InputError, match=r"is 4 but layers_block_type of model .* has 3 layers"):
        depth_of(tmp_path, "nemotron_h", 4, layers_block_type=blocks, mtp_layers_block_type=["mlp"])
    assert (
        depth_of(tmp_path, "nemotron_h", 2, layers_block_type=None, hybrid_override_pattern="M*-").num_hidden_layers
        == 2
    )
    assert depth_of(tmp_path, "qwen3", 1, num_hidden_layers=2, my_layer_kind="ab").my_layer_kind == "ab", "text was cut"
    with pytest.raises(InputError, match=r"is 5 but layer_types of model .* has 4 layers: lower model\.layers"):
        depth_of(tmp_path, "qwen3", 5, num_hidden_layers=4, layer_types=turns)


def test_only_architectures_without_a_window_use_the_attention_that_supports_none(tmp_path: Path) -> None:
    def attention(kind: str, **changes: Any) -> str:
        made = student_config(tiny_folder(tmp_path, kind, **changes), TOKENS, CONTEXT)
        taken: str = fresh_model(made, seed=0).config._attn_implementation
        return taken

    assert attention("llama") == attention("gpt2") == attention("mistral", sliding_window=None) == CAUSAL
    assert attention("mistral", sliding_window=8) == attention("gemma3_text") == "sdpa"
