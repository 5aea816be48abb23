"""Every causal language model of transformers, at a tiny size, is trained as with dense targets, or refused."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from decoder_table import FILE, in_readme, table
from tiny_decoders import IF_TOLD, Steps, refusal, tiny_folder, two_steps

from trainable.student.config_keys import language_models

KEPT = json.loads(FILE.read_text(encoding="utf-8"))
SAME_VERSION = version("transformers") == KEPT["transformers"]
MAKE_ANEW = "python tests/support/decoder_table.py"


def require_equal(steps: Steps) -> None:
    """Require equal changes of all weights, up to rounding, which the second step enlarges in some models (Gemma 4)."""
    largest = max(float(change.abs().max()) for change in steps.dense)
    assert largest > 1e-4, "nothing was learnt"
    for ours, dense in zip(steps.ours, steps.dense, strict=True):
        torch.testing.assert_close(ours, dense, rtol=0, atol=3e-4 * largest)


@pytest.mark.parametrize("kind", sorted(language_models()))
def test_two_guided_steps_equal_two_steps_with_dense_targets_or_the_model_is_refused(tmp_path: Path, kind: str) -> None:
    config = tiny_folder(tmp_path, kind)
    reason = refusal(config)
    if SAME_VERSION:
        assert reason == KEPT["refused"].get(kind), f"differs from the table: run {MAKE_ANEW}"
    if reason is not None:
        return
    steps = two_steps(config)
    require_equal(steps)
    if SAME_VERSION:
        assert bool(steps.untouched) == (kind in KEPT["untouched"]), f"differs from the table: run {MAKE_ANEW}"


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
