"""The student: size, precision, seeds, and folders that do not fit."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from trainable.config import ModelConfig, OptimizerConfig
from trainable.errors import InputError
from trainable.student.model import build_model, output_bias, output_matrix, student_config
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
def test_a_width_brings_heads_and_an_inner_width_with_it(hidden: int | None, inner: int, heads: int) -> None:
    """At that of its preset, the preset."""
    config = student_config(ModelConfig(hidden=hidden), vocab_size=300, context=16)
    assert (config.hidden_size, config.intermediate_size) == (hidden or 128, inner)
    assert (config.num_attention_heads, config.num_key_value_heads) == (heads, heads)


def test_a_width_beside_a_folder_is_refused(tmp_path: Path) -> None:
    config = dataclasses.replace(folder(tmp_path), hidden=64)
    with pytest.raises(InputError, match=r"model.hidden is 64 but the width of model .* is what its config.json says"):
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


def test_output_rows_that_stand_for_no_token_begin_without_mass(tmp_path: Path) -> None:
    config = dataclasses.replace(folder(tmp_path), output_bias="unigram")
    model = build_model(config, vocab_size=300, context=16, seed=0, unigram_V=torch.full((300,), -math.log(300)))
    bias_V = output_bias(model)
    assert bias_V is not None and bias_V.shape == (320,)
    assert bias_V.exp()[300:].sum() < 1e-11


def test_an_output_bias_does_not_decay() -> None:
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
        ({"model_type": "gpt2"}, "only 'llama' can be trained"),
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
