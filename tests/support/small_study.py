"""A study as a user writes it, with trials that take seconds; tests of faults run and disturb it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from sweeps.engine.cli import main
from sweeps.engine.options import Options, base_config
from sweeps.engine.specs.comparison import Arm, Comparison, grid, paired_plans
from trainable.config import TrialConfig, override

SETTING = {
    "tokens.tokenizer": "train:512",
    "tokens.context": 32,
    "optimizer.warmup_steps": 4,
    "loop.steps": 120,
    "loop.batch_blocks": 4,
    "loop.eval_every": 20,
    "loop.checkpoint_every": 20,
    "loop.device": "cpu",
    "loop.precision": "float32",
}
GREEDY_BLOCKS = 2**17  # of 32 tokens, in one batch: its hidden states in a layer 2**17 wide would take 2 TiB


@dataclass(frozen=True, kw_only=True)
class SmallOptions(Options):
    """The options of every study, and the number of trials."""

    seeds: tuple[int, ...] = (0, 1)
    """a control and every arm run on each"""
    arms: int = 2
    """guided trials a seed"""
    greedy: str | None = None
    """folder of a wide model: a further arm trains it, in batches that no machine can hold"""


def small_study(options: SmallOptions) -> Comparison:
    """Schedules that differ in their minimum weight."""
    base = base_config(options, override(TrialConfig(), SETTING))
    steps = base.loop.steps
    arms = [_linear(f"linear {n}", steps, {"teacher.min_weight": n / options.arms}) for n in range(options.arms)]
    if options.greedy is not None:
        too_much = {"model.name": options.greedy, "loop.batch_blocks": GREEDY_BLOCKS}
        arms.append(_linear("greedy", steps, too_much))
    plans = paired_plans(grid(base, {"seed": options.seeds}), lambda unit: arms)
    return Comparison(study="small_study", question="Does a run survive?", base=base, plans=plans)


def _linear(name: str, steps: int, more: Mapping[str, str | float]) -> Arm:
    return Arm(name, {"teacher.schedule": "linear", "teacher.steps": steps, **more})


if __name__ == "__main__":
    sys.exit(main(small_study, SmallOptions, __doc__))
