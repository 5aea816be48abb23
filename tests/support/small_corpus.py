"""A small corpus of generated sentences, the same on every machine, and settings that train on it in a second."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainable.config import TrialConfig, override

SENTENCES = 600
SUBJECTS = ("the cat", "a dog", "my old neighbour", "the wind", "nobody", "the third train", "her sister")
VERBS = ("sees", "forgets", "carries", "follows", "paints", "opens", "never loses")
OBJECTS = ("a red door", "the river", "some bread", "an empty letter", "the small garden", "this song", "my coat")
ENDINGS = ("today", "in the dark", "before noon", "with care", "again and again", "for nothing", "at home")


def small_sentences(count: int = SENTENCES) -> list[str]:
    """Sentences of four parts whose frequencies are skewed enough to be learnt in a few steps."""
    choices = np.random.default_rng(0).zipf(1.6, (count, 4)) % 7
    parts = (SUBJECTS, VERBS, OBJECTS, ENDINGS)
    return [" ".join(part[i] for part, i in zip(parts, line, strict=True)) + "." for line in choices.tolist()]


def small_config(folder: Path, changes: Mapping[str, Any] | None = None) -> TrialConfig:
    """20 steps of the tiny model on the small corpus, which is written to `folder`."""
    path = folder / "sentences.txt"
    path.write_text("".join(f"{sentence}\n" for sentence in small_sentences()), encoding="utf-8")
    settings: dict[str, Any] = {
        "corpus.source": str(path),
        "tokens.tokenizer": "train:512",
        "tokens.context": 32,
        "optimizer.warmup_steps": 4,
        "loop.steps": 20,
        "loop.batch_blocks": 4,
        "loop.eval_every": 5,
        "loop.checkpoint_every": 10,
        "loop.device": "cpu",
        "loop.precision": "float32",  # on any CPU: what is promised to the bit, and golden, is so in float32
    }
    return override(TrialConfig(), settings | dict(changes or {}))
