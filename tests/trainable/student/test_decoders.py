"""Models of a few architectures of transformers, at a tiny size; tests/outside/test_every_decoder.py tries all."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from decoder_table import FILE, in_readme, table
from tiny_decoders import IF_TOLD, refusal, require_equal, tiny_folder, two_steps

from trainable.student.config_keys import language_models

KEPT = json.loads(FILE.read_text(encoding="utf-8"))
SAME_VERSION = version("transformers") == KEPT["transformers"]
MAKE_ANEW = "python tests/support/decoder_table.py"
FAMILIES = ("llama", "gpt2", "gemma", "qwen3", "mixtral", "opt")


@pytest.mark.parametrize("kind", FAMILIES)
def test_two_guided_steps_equal_two_steps_with_dense_targets(tmp_path: Path, kind: str) -> None:
    config = tiny_folder(tmp_path, kind)
    assert refusal(config) is None
    require_equal(two_steps(config))


@pytest.mark.parametrize("kind", IF_TOLD)
def test_an_encoder_that_is_not_told_to_be_causal_is_refused(tmp_path: Path, kind: str) -> None:
    reason = refusal(tiny_folder(tmp_path, kind, is_decoder=False))
    assert reason == "a token changes hidden states before it, so the model is not causal unless is_decoder is true"


@pytest.mark.parametrize("kind", ["gemma2", "vaultgemma"])
def test_a_model_whose_soft_cap_of_logits_is_removed_is_trained(tmp_path: Path, kind: str) -> None:
    config = tiny_folder(tmp_path, kind, final_logit_softcapping=None)
    assert refusal(config) is None
    require_equal(two_steps(config))


@pytest.mark.skipif(not SAME_VERSION, reason=f"the table is of transformers {KEPT['transformers']}")
def test_the_table_in_the_readme_has_every_architecture() -> None:
    assert in_readme() == table(KEPT), f"stale: run {MAKE_ANEW}"
    assert {*KEPT["trained"], *KEPT["refused"]} == set(language_models()), f"stale: run {MAKE_ANEW}"
