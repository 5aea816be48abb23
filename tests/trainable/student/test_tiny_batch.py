"""A model that cannot be trained is refused before anything starts, whatever the reason."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_llama import LLAMA

from trainable.config import ModelConfig
from trainable.errors import InputError
from trainable.student.model import PRESETS
from trainable.student.tiny_batch import check_trains


def folder(path: Path, **changes: Any) -> ModelConfig:
    (path / "config.json").write_text(json.dumps(LLAMA | changes))
    return ModelConfig(name=str(path), layers=500)


@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_train(name: str) -> None:
    check_trains(ModelConfig(name=name, layers=12), vocab_size=32_000, context=1024)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"return_dict": False},
        {"pad_token_id": 5000},
        {"tie_word_embeddings": True},
        {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                          "original_max_position_embeddings": 32}},
        {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}},
        {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    ],
)  # fmt: skip
def test_a_model_that_trains_passes(tmp_path: Path, changes: dict[str, Any]) -> None:
    check_trains(folder(tmp_path, **changes), vocab_size=300, context=32)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rope_theta": 0.0}, "the loss of its first batch is nan"),
        ({"rms_norm_eps": -1.0}, "the loss of its first batch is nan"),
        ({"initializer_range": 1e-46}, "its first batch gives no gradient"),
        ({"head_dim": 7}, "`head_dim`=7"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2.0, "original_max_position_embeddings": 32}}, "factor"),
        ({"hidden_act": "softest"}, "unknown value 'softest'"),
    ],
)
def test_a_model_that_does_not_is_one_sentence(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError) as refused:
        check_trains(folder(tmp_path, **changes), vocab_size=300, context=32)
    assert reason in str(refused.value) and str(tmp_path) in str(refused.value)
    assert str(refused.value).endswith("mend its config.json.")


def test_a_large_model_is_tried_in_little(tmp_path: Path) -> None:
    huge = {"vocab_size": 10**9, "intermediate_size": 10**9, "hidden_size": 64, "num_attention_heads": 8}
    check_trains(folder(tmp_path, **huge), vocab_size=10**9, context=32)
    with pytest.raises(InputError, match="head_dim"):
        check_trains(folder(tmp_path, **huge, head_dim=7), vocab_size=10**9, context=32)


def test_the_check_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    check_trains(folder(tmp_path), vocab_size=300, context=32)
    assert torch.equal(torch.random.get_rng_state(), before)
