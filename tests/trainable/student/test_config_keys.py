"""Keys of a foreign config.json: none of them changes training without a line in the plan."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_llama import LLAMA
from tiny_decoders import CONTEXT, TOKENS, VOCAB, tiny_folder

from trainable.config import ModelConfig
from trainable.errors import InputError
from trainable.student.batches import Batch
from trainable.student.config_keys import LLAMA as LLAMA_KEYS
from trainable.student.config_keys import (
    QUIET,
    REFUSED,
    SET,
    UnfitModel,
    default_keys,
    is_random,
    key_lines,
    language_models,
    model_fingerprint,
)
from trainable.student.model import build_model, hidden_states, output_matrix
from trainable.student.train import batch_loss

# {key: (a value from a real file, words of the plan about this value)}
SAID = {
    "pad_token_id": (2, "pad_token_id 2 set to none"),
    "attention_dropout": (0.2, "attention_dropout 0.2 set to 0"),
    "hidden_dropout": (0.1, "hidden_dropout 0.1 set to 0"),
    "resid_pdrop": (0.1, "resid_pdrop 0.1 set to 0"),
    "layerdrop": (0.5, "layerdrop 0.5 set to 0"),
    "drop_path_rate": (0.5, "drop_path_rate 0.5 set to 0"),
    "return_dict": (False, "return_dict False set to True"),
    "output_hidden_states": (True, "output_hidden_states True set to False"),
    "output_attentions": (True, "output_attentions True set to False"),
    "attn_implementation": ("eager", "attn_implementation eager set to sdpa"),
    "_attn_implementation": ("flash_attention_2", "_attn_implementation flash_attention_2 set to sdpa"),
    "dtype": ("float16", "dtype float16 set to float32"),
    "torch_dtype": ("bfloat16", "torch_dtype bfloat16 set to float32"),
    "quantization_config": ({"quant_method": "gptq", "bits": 4}, "quantization_config {...} set to none"),
    "architectures": (
        ["LlamaForSequenceClassification"],
        "architectures LlamaForSequenceClassification set to LlamaForCausalLM",
    ),
    "auto_map": ({"AutoModelForCausalLM": "modeling_mine.Mine"}, "auto_map {...} set to none"),
    "trust_remote_code": (True, "trust_remote_code True set to False"),
}
UNUSED = {
    "sliding_window": 16,
    "layer_types": ["sliding_attention"],
    "partial_rotary_factor": 0.5,
    "n_layer": 12,
    "final_logit_softcapping": 30.0,
    "gradient_checkpointing": True,
}
QUIETLY = {
    "num_hidden_layers": 7,
    "bos_token_id": [1, 3],
    "eos_token_id": 9999,
    "use_cache": False,
    "transformers_version": "4.31.0",
    "_name_or_path": "somebody/llama",
    "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False,
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "problem_type": None,
    "pretraining_tp": 2,
    "experts_implementation": "eager",
    "_experts_implementation": "eager",
}


def folder(path: Path, **changes: Any) -> str:
    (path / "config.json").write_text(json.dumps(LLAMA | changes))
    return str(path)


def weights_after_a_step(name: str) -> dict[str, torch.Tensor]:
    """Weights after one optimizer step on a batch that holds every token."""
    model = build_model(ModelConfig(name=name), vocab_size=320, context=64, seed=0)
    ids_BxT = torch.arange(320).view(5, 64)
    torch.manual_seed(len(name))  # names differ in length, so a random operation would give other weights
    batch = Batch(ids_BxT[:, :-1], ids_BxT[:, 1:], ids_BxT[:, :-1].numpy(), np.arange(len(ids_BxT)))
    batch_loss(model, batch, None).backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return model.state_dict()


@pytest.mark.parametrize("key", [*SAID, *UNUSED, *QUIETLY])
def test_a_key_outside_the_architecture_changes_nothing_in_training(tmp_path: Path, key: str) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "with_it").mkdir()
    plain = weights_after_a_step(folder(tmp_path / "plain"))
    value = SAID[key][0] if key in SAID else (UNUSED | QUIETLY)[key]
    found = weights_after_a_step(folder(tmp_path / "with_it", **{key: value}))
    assert plain.keys() == found.keys()
    assert all(torch.equal(plain[name], found[name]) for name in plain)


@pytest.mark.parametrize("key", SAID)
def test_the_plan_names_a_key_that_is_set_to_another_value(tmp_path: Path, key: str) -> None:
    value, said = SAID[key]
    name = folder(tmp_path, **{key: value})
    assert key_lines(name) == [f"model {name}: {said}"]


def test_keys_that_no_llama_has_are_named_in_one_line(tmp_path: Path) -> None:
    name = folder(tmp_path, **UNUSED)
    assert key_lines(name) == [f"model {name}: not used, because a Llama has no such key: {', '.join(sorted(UNUSED))}"]


def test_the_plan_is_silent_about_keys_that_need_no_other_value(tmp_path: Path) -> None:
    usual = {"pad_token_id": None, "attention_dropout": 0.0, "hidden_dropout": 0, "return_dict": True, "dtype": None}
    assert key_lines(folder(tmp_path, **QUIETLY, **usual, architectures=["LlamaForCausalLM"])) == []


def test_every_key_of_set_and_quiet_is_tried_in_this_file() -> None:
    assert {*SET, *QUIET} - {*SAID, *QUIETLY, "model_type"} == set()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_key_value_heads", 2),
        ("head_dim", 16),
        ("hidden_act", "gelu"),
        ("rms_norm_eps", 0.1),
        ("initializer_range", 0.1),
        ("rope_parameters", {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}),
        ("rope_theta", 100.0),
        ("rope_scaling", {"type": "linear", "factor": 2.0}),
        ("attention_bias", True),
        ("mlp_bias", True),
        ("tie_word_embeddings", True),
        ("intermediate_size", 96),
    ],
)
def test_a_key_of_the_architecture_changes_the_model(tmp_path: Path, key: str, value: Any) -> None:
    assert key in LLAMA_KEYS
    (tmp_path / "plain").mkdir()
    plain, found = (
        weights_after_a_step(folder(tmp_path / "plain")),
        weights_after_a_step(folder(tmp_path, **{key: value})),
    )
    same = plain.keys() == found.keys() and all(
        plain[name].shape == found[name].shape and torch.equal(plain[name], found[name]) for name in plain
    )
    assert not same


def test_the_embedding_of_a_padding_token_learns(tmp_path: Path) -> None:
    """The row of the padding token learns: without `SET` it has no gradient, and an export declares eos as padding."""
    name = folder(tmp_path, pad_token_id=2)
    fresh = build_model(ModelConfig(name=name), vocab_size=320, context=64, seed=0).state_dict()
    row = "model.embed_tokens.weight"
    assert not torch.equal(weights_after_a_step(name)[row][2], fresh[row][2])
    assert fresh[row][2].any(), "the row of the padding token begins at 0"


def test_a_misspelt_key_is_refused_and_missing_key_value_heads_equal_attention_heads(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'num_key_value_heads'"):
        key_lines(folder(tmp_path, num_key_value_head=2))
    model = build_model(ModelConfig(name=folder(tmp_path)), vocab_size=320, context=64, seed=0)
    assert model.config.num_key_value_heads == 4


def test_a_model_has_the_fingerprint_that_older_runs_recorded(tmp_path: Path) -> None:
    assert model_fingerprint(folder(tmp_path)) == "bea9e215d4b2da6b"
    changes = {"pad_token_id": 2, "attention_dropout": 0.1, "rope_scaling": {"type": "linear", "factor": 2.0}}
    name = folder(tmp_path, **changes, num_hidden_layers=9, tie_word_embeddings=True)
    assert model_fingerprint(name) == "1e2808878c7c5c7a"


# --- any other architecture -------------------------------------------------------------------------------------------

GPT2_DROPOUTS = "resid_pdrop 0.1 set to 0, embd_pdrop 0.1 set to 0, attn_pdrop 0.1 set to 0"  # the library's defaults


def step_of(config: ModelConfig) -> dict[str, torch.Tensor]:
    """Weights after one optimizer step on a batch that holds every token."""
    model = build_model(config, vocab_size=VOCAB, context=CONTEXT, seed=0)
    ids_BxT = torch.arange(VOCAB).view(-1, CONTEXT)
    batch = Batch(ids_BxT[:, :-1], ids_BxT[:, 1:], ids_BxT[:, :-1].numpy(), np.arange(len(ids_BxT)))
    batch_loss(model, batch, None).backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return model.state_dict()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("pad_token_id", 2, "pad_token_id 2 set to none"),
        ("return_dict", False, "return_dict False set to True"),
        ("output_hidden_states", True, "output_hidden_states True set to False"),
        ("output_attentions", True, "output_attentions True set to False"),
        ("attn_implementation", "eager", "attn_implementation eager set to sdpa"),
        ("_attn_implementation", "eager", "_attn_implementation eager set to sdpa"),
        ("dtype", "float16", "dtype float16 set to float32"),
        ("torch_dtype", "bfloat16", "torch_dtype bfloat16 set to float32"),
        ("quantization_config", {"bits": 4}, "quantization_config {...} set to none"),
        ("architectures", ["GPT2Model"], "architectures GPT2Model set to GPT2LMHeadModel"),
        ("auto_map", {"AutoModelForCausalLM": "mine.Mine"}, "auto_map {...} set to none"),
        ("trust_remote_code", True, "trust_remote_code True set to False"),
        *[(key, value, None) for key, value in QUIETLY.items() if key != "num_hidden_layers"],
        ("use_cache", True, None),
        ("n_layer", 7, None),
        ("summary_first_dropout", 0.5, None),
    ],
)
def test_a_key_outside_the_architecture_of_gpt2_changes_nothing_and_the_plan_says_what_is_set(
    tmp_path: Path, key: str, value: Any, said: str | None
) -> None:
    plain, with_it = tiny_folder(tmp_path / "plain", "gpt2"), tiny_folder(tmp_path / "with_it", "gpt2", **{key: value})
    before, after = step_of(plain), step_of(with_it)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    (line,) = key_lines(with_it.name)
    assert set(line.removeprefix(f"model {with_it.name}: ").split(", ")) == {
        *GPT2_DROPOUTS.split(", "),
        *([said] if said else []),
    }


@pytest.mark.parametrize("kind", ["gpt2", "opt", "bart", "mpt", "mixtral"])
@pytest.mark.parametrize("told", [None, 0.5])
def test_no_dropout_is_left_whether_the_file_or_the_library_sets_it(
    tmp_path: Path, kind: str, told: float | None
) -> None:
    dropouts = [key for key in default_keys(kind) if is_random(key)]
    changes = {} if told is None else dict.fromkeys(dropouts, told)
    model = build_model(tiny_folder(tmp_path, kind, **changes), vocab_size=TOKENS, context=CONTEXT, seed=0)
    ids_1xT = torch.arange(CONTEXT).unsqueeze(0)
    assert torch.equal(hidden_states(model.train(), ids_1xT), hidden_states(model.eval(), ids_1xT))
    assert all(not getattr(model.config, key) for key in dropouts)


@pytest.mark.parametrize("kind", ["opt", "gemma", "modernbert-decoder"])  # the last always has a padding token
def test_the_embedding_of_every_architectures_padding_token_learns(tmp_path: Path, kind: str) -> None:
    config = tiny_folder(tmp_path, kind, pad_token_id=0, tie_word_embeddings=False)
    model = build_model(config, vocab_size=VOCAB, context=CONTEXT, seed=0)
    rows = model.get_input_embeddings().weight
    name = next(name for name, weight in model.named_parameters() if weight is rows)
    assert not torch.equal(step_of(config)[name][0], rows[0])


@pytest.mark.parametrize("tied", [True, False])
def test_tied_embeddings_stay_tied_and_untied_ones_untied(tmp_path: Path, tied: bool) -> None:
    config = tiny_folder(tmp_path, "gpt2", tie_word_embeddings=tied)
    model = build_model(config, vocab_size=TOKENS, context=CONTEXT, seed=0)
    assert (model.get_input_embeddings().weight is output_matrix(model)) == tied


def test_misspelt_and_unknown_keys_of_another_architecture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown key 'n_embdd': did you mean 'n_embd'\?"):
        key_lines(tiny_folder(tmp_path, "gpt2", n_embdd=64).name)
    name = tiny_folder(tmp_path, "gpt2", my_own_note=1, attention_sink=2).name
    assert key_lines(name)[1:] == [
        f"model {name}: unknown to transformers' gpt2, which may not use them: attention_sink, my_own_note"
    ]


def test_only_the_text_model_of_a_model_of_several_parts_is_used_and_the_plan_says_so(tmp_path: Path) -> None:
    name = tiny_folder(tmp_path, "gemma3").name
    assert key_lines(name)[0] == f"model {name}: of gemma3 only the text model is used, gemma3_text"
    model = build_model(ModelConfig(name=name), vocab_size=TOKENS, context=CONTEXT, seed=0)
    assert model.config.model_type == "gemma3_text"
    assert not any("vision" in name for name, _ in model.named_parameters())


def test_attention_that_looks_ahead_at_random_is_set_to_the_causal_kind(tmp_path: Path) -> None:
    config = tiny_folder(tmp_path, "big_bird")
    assert "attention_type block_sparse set to original_full" in key_lines(config.name)[0]
    model = build_model(config, vocab_size=TOKENS, context=CONTEXT, seed=0)
    assert model.config.attention_type == "original_full"


def test_every_architecture_in_the_list_of_refused_ones_exists_and_is_refused(tmp_path: Path) -> None:
    assert set(REFUSED) <= set(language_models())
    for kind, reason in REFUSED.items():
        with pytest.raises(UnfitModel) as refused:
            key_lines(tiny_folder(tmp_path, kind).name)
        assert refused.value.reason == reason
