"""The settings of a run on one file of text."""

from pathlib import Path

from trainable.config import TrialConfig, override


def config(path: Path) -> TrialConfig:
    changes = {"corpus.source": str(path), "tokens.tokenizer": "train:512", "tokens.context": 32}
    return override(TrialConfig(), changes)
