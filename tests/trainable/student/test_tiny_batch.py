"""A model that cannot be trained is refused before anything starts, whatever the reason."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from small_llama import LLAMA
from tiny_decoders import CONTEXT, TOKENS, tiny_folder

from trainable.config import ModelConfig
from trainable.errors import InputError
from trainable.student import tiny_batch
from trainable.student.config_keys import UnfitModel
from trainable.student.model import student_config
from trainable.student.presets import PRESETS
from trainable.student.tiny_batch import check_trains


def folder(path: Path, **changes: Any) -> ModelConfig:
    (path / "config.json").write_text(json.dumps(LLAMA | changes))
    return ModelConfig(name=str(path), layers=500)


@pytest.mark.parametrize("bias", ["none", "unigram"])
@pytest.mark.parametrize("hidden", [None, 8, 48, 344])
@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_train_at_any_width_so_no_sweep_checks_them(
    name: str, hidden: int | None, bias: Literal["none", "unigram"]
) -> None:
    config = ModelConfig(name=name, layers=12, hidden=hidden, output_bias=bias)
    for precision in ("float32", "bfloat16"):
        check_trains(config, vocab_size=32_000, context=1024, precision=precision)


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
def test_a_model_that_does_not_train_is_refused_in_one_sentence(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError) as refused:
        check_trains(folder(tmp_path, **changes), vocab_size=300, context=32)
    assert reason in str(refused.value) and str(tmp_path) in str(refused.value)
    assert str(refused.value).endswith("mend its config.json.")


def test_a_large_model_is_tried_at_a_small_size(tmp_path: Path) -> None:
    huge = {"vocab_size": 10**9, "intermediate_size": 10**9, "hidden_size": 64, "num_attention_heads": 8}
    check_trains(folder(tmp_path, **huge), vocab_size=10**9, context=32)
    with pytest.raises(InputError, match="head_dim"):
        check_trains(folder(tmp_path, **huge, head_dim=7), vocab_size=10**9, context=32)


def test_the_check_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    check_trains(folder(tmp_path), vocab_size=300, context=32)
    assert torch.equal(torch.random.get_rng_state(), before)


def refused(config: ModelConfig, **more: Any) -> str:
    with pytest.raises(UnfitModel) as found:
        check_trains(config, TOKENS, CONTEXT, **more)
    assert str(found.value).startswith(f"model {config.name} cannot be trained ({found.value.reason}): ")
    return found.value.reason


def test_logits_bent_by_a_soft_cap_are_refused_with_the_key_and_the_way_out(tmp_path: Path) -> None:
    reason = refused(tiny_folder(tmp_path, "gemma2"))
    assert reason == (
        "a non-linear function (final_logit_softcapping) follows its output layer, so the teacher's part of the loss "
        "has no exact form unless final_logit_softcapping is null"
    )
    assert reason == refused(tiny_folder(tmp_path, "gemma2", final_logit_softcapping=1e4)), "the reason has changed"


def test_a_loss_with_a_part_for_the_balance_of_experts_is_refused(tmp_path: Path) -> None:
    config = tiny_folder(tmp_path, "mixtral", output_router_logits=True)
    assert "output_router_logits" in refused(config)
    check_trains(tiny_folder(tmp_path, "mixtral", output_router_logits=False), TOKENS, CONTEXT)


def test_a_bias_beside_a_scale_of_the_logits_is_refused(tmp_path: Path) -> None:
    """An output bias is refused for a model that scales its logits, because transformers would scale the bias too."""
    check_trains(replace(tiny_folder(tmp_path, "phi"), output_bias="unigram"), TOKENS, CONTEXT)
    reason = refused(replace(tiny_folder(tmp_path, "granite", logits_scaling=4.0), output_bias="unigram"))
    assert reason == "its own logits are not hidden states times the output matrix, plus its bias"


def test_a_model_that_does_not_run_in_the_precision_of_the_loop_is_refused(tmp_path: Path) -> None:
    config = tiny_folder(tmp_path, "dbrx")
    check_trains(config, TOKENS, CONTEXT, "float32")
    assert refused(config, precision="bfloat16").startswith("not in bfloat16: ")
    check_trains(tiny_folder(tmp_path, "mixtral"), TOKENS, CONTEXT, "bfloat16")


def test_attention_that_differs_from_the_models_own_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_folder(tmp_path, "mistral", sliding_window=4)
    check_trains(config, TOKENS, CONTEXT)
    monkeypatch.setattr("trainable.student.model._sees_all", lambda made: True)
    assert refused(config) == "its own logits are not hidden states times the output matrix, plus its bias"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda out, labels: out * 1.001, "its own logits are not hidden states times the output matrix"),
        (lambda out, labels: out.tanh(), "a non-linear function follows its output layer"),
        (lambda out, labels: out + torch.rand_like(out), "its forward pass differs between training and evaluation"),
        (lambda out, labels: out + out.mean(1, keepdim=True), "a token changes hidden states before it"),
        (lambda out, labels: out[..., :-1], "its logits are not made by its output layer alone"),
    ],
)  # fmt: skip
def test_assumptions_of_the_loss_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, reason: str
) -> None:
    """Only the hidden states are spoilt, as if an architecture broke the assumption; transformers' own logits stay."""
    plain = tiny_batch.hidden_states
    monkeypatch.setattr(tiny_batch, "hidden_states", lambda *given, **more: spoil(plain(*given, **more), None))
    assert refused(folder(tmp_path)).startswith(reason)


def test_an_own_loss_that_is_more_than_cross_entropy_is_found(tmp_path: Path) -> None:
    """The auxiliary loss of experts is found by its value, without the name of its key."""
    config = tiny_folder(tmp_path, "mixtral")
    ids_2xT1 = torch.arange(34).view(2, -1)
    made = student_config(config, TOKENS, CONTEXT)
    assert list(tiny_batch.problems(made, config, ids_2xT1)) == []
    made.output_router_logits = True
    (problem,) = tiny_batch.problems(made, config, ids_2xT1)
    assert problem == "its own loss is not the cross-entropy of its logits, as with an auxiliary loss of experts"
