"""What the three parts of the sceptic's study share: the setting of each scale, and rows for one epoch at most.

Read sweeps/content_gate.py (is the run long enough?), sweeps/content.py (the claim), sweeps/content_long.py (does it
last?).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sweeps.engine.options import base_config
from sweeps.engine.settings import LAPTOP, SMALL_LLAMA2, SMOKE
from sweeps.engine.study import Scale, StudyOptions
from trainable.config import TrialConfig, override
from trainable.student.precision import best_precision

PROTOCOL_RATES = (0.5, 1.0, 2.0)  # times the setting's learning rate
_WARM_UP = 0.1  # of the run, where it is not searched
_FIXED = {"model.layers": 1, "teacher.smoothing": "modified_kneser_ney"}
_SETTINGS: Mapping[Scale, TrialConfig] = {
    # 4,096 tokens a step; 704 steps are 2.9 M tokens: a student of this size then ends below the bigram's own loss
    "laptop": override(
        LAPTOP,
        {
            **_FIXED,
            "corpus.eval_rows": 2_000,
            "tokens.tokenizer": "train:8192",
            "optimizer.lr": 4e-3,
            "loop.steps": 704,
            "loop.batch_blocks": 32,
            "loop.eval_every": 44,
            "loop.checkpoint_every": 88,
        },
    ),
    # 32,768 tokens a step; 588 steps are the published study's 19 M tokens
    "published": override(SMALL_LLAMA2, {**_FIXED, "corpus.source": "bookcorpus", "corpus.eval_rows": 40_000}),
}
_ROWS_A_STEP: Mapping[Scale, float] = {"laptop": 108_000 / 704, "published": 1_000_000 / 588}  # of books, with room


def protocol_base(options: StudyOptions, steps: int | None, changes: Mapping[str, Any]) -> TrialConfig:
    """The control's setting for a run of `steps` (None: the scale's), with changes, then the user's options.

    Training rows are as many as one epoch of such a run takes of book sentences, so that the teacher, which is counted
    on them, has read what the student reads.
    """
    setting = _SETTINGS[options.scale]
    steps = setting.loop.steps if steps is None else steps
    precision = best_precision() if options.scale == "laptop" else setting.loop.precision
    sized = {
        "corpus.train_rows": round(steps * _ROWS_A_STEP[options.scale]),
        "loop.steps": steps,
        "loop.eval_every": min(setting.loop.eval_every, steps),
        "loop.checkpoint_every": min(setting.loop.eval_every, steps) * 2,
        "loop.precision": precision,
        "optimizer.warmup_steps": round(_WARM_UP * steps),
    }
    smoke = {key: SMOKE[key] for key in SMOKE} if options.smoke_test else {}
    return base_config(replace(options, steps=None), override(setting, {**sized, **changes, **smoke}))
