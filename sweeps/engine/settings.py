"""Settings that are fixed unless a study changes them, one for each model size: all but depth and teacher."""

from typing import Any

from trainable.config import CorpusConfig, LoopConfig, ModelConfig, OptimizerConfig, TokensConfig, TrialConfig, override

# For a laptop: a trial takes some 15 seconds on one core.
TINY = TrialConfig(
    corpus=CorpusConfig(eval_rows=250),
    tokens=TokensConfig(tokenizer="train:4096", context=128),
    model=ModelConfig(name="tiny"),
    optimizer=OptimizerConfig(lr=3e-3, warmup_steps=10),
    loop=LoopConfig(steps=96, batch_blocks=8, eval_every=16, checkpoint_every=48),
)

# The published study's hyper-parameters on one GPU: 32 x 1024 tokens a step, one epoch of 1 M rows. A step has two
# micro-batches: with eight, as published, an H100 waits for the host, and a step takes 2.8 times as long.
SMALL_LLAMA2 = TrialConfig(
    corpus=CorpusConfig(train_rows=1_000_000, eval_rows=200_000),
    tokens=TokensConfig(tokenizer="train:32000", context=1024),
    model=ModelConfig(name="small-llama2"),
    optimizer=OptimizerConfig(lr=5e-4, warmup_steps=100),
    loop=LoopConfig(
        steps=588,
        batch_blocks=16,
        accumulation=2,
        eval_every=30,
        eval_batch_blocks=8,
        checkpoint_every=90,
        precision="bfloat16",
    ),
)


# The same on the published study's corpus, packed into blocks as that study packed it.
PUBLISHED = override(SMALL_LLAMA2, {"corpus.source": "bookcorpus", "tokens.packing": "as_published"})

# A quarter of the published study's steps: 240 scheduling steps of 588 are 60 of 147.
LAPTOP = override(
    TINY, {"loop.steps": 147, "loop.eval_every": 7, "loop.checkpoint_every": 21, "optimizer.warmup_steps": 25}
)

SMOKE_STEPS = 12
# Settings that --smoke-test changes: the whole path of a run in its smallest form.
SMOKE = {
    "corpus.train_rows": 2000,
    "corpus.eval_rows": 100,
    "tokens.tokenizer": "train:1024",
    "tokens.context": 32,
    "loop.steps": SMOKE_STEPS,
    "loop.batch_blocks": 4,
    "loop.accumulation": 1,
    "loop.eval_every": 3,
    "loop.checkpoint_every": 3,
    "optimizer.warmup_steps": 2,
}


def setting_of(model: str | None) -> TrialConfig:
    """The setting of a search; a user's own model (a folder) trains like the published one.

    A search has corpus.eval_rows validation rows that choose settings and as many that report: together as many as
    published. A model in a folder may be large, so its micro-batches are small.
    """
    if model in (None, "tiny"):
        return TINY
    micro_batches = {} if model == "small-llama2" else {"loop.batch_blocks": 4, "loop.accumulation": 8}
    return override(SMALL_LLAMA2, {"corpus.eval_rows": 100_000, **micro_batches})


GROWS = ("loop.eval_every", "loop.checkpoint_every", "optimizer.warmup_steps")  # grow with the steps of a run


def evaluations_of(loop: LoopConfig) -> int:
    """Number of evaluations of a run after step 0."""
    return max(1, round(loop.steps / loop.eval_every))


def stretched(setting: TrialConfig, steps: int) -> dict[str, Any]:
    """{dotted key: value} of the settings in GROWS, in proportion to a run of so many steps."""
    loop = setting.loop
    if steps == loop.steps:
        return {}
    every = max(1, steps // evaluations_of(loop))
    warmup = round(setting.optimizer.warmup_steps * steps / loop.steps)
    return dict(zip(GROWS, (every, every * round(loop.checkpoint_every / loop.eval_every), warmup), strict=True))
