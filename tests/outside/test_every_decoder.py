"""Every causal language model of transformers, at a tiny size, is trained as with dense targets, or refused."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from decoder_table import FILE
from tiny_decoders import refusal, require_equal, tiny_folder, two_steps

from trainable.student.config_keys import language_models

KEPT = json.loads(FILE.read_text(encoding="utf-8"))
SAME_VERSION = version("transformers") == KEPT["transformers"]
MAKE_ANEW = "python tests/support/decoder_table.py"


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
