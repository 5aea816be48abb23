"""Measure the time of a guided optimizer step against a plain one on this machine, with the training loop itself.

Machines are noisy, so plain and guided steps alternate, a ratio is computed for each pair, and the median ratio is
given with the least and the greatest.
"""

import time
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from trainable import names
from trainable.config import TeacherConfig, TrialConfig
from trainable.student.run_data import RunData
from trainable.student.train import Report, pick_device, train

PAIRS: Final = 5  # measured pairs; one pair before them, which chooses kernels and allocates memory, does not count
LEAST_PAIRS: Final = 3  # measured pairs also if the steps are slow
SECONDS: Final = 30.0  # time after which no further pair begins
STEPS_BETWEEN: Final = {"cpu": 1, "cuda": 10}  # steps between two readings of the clock, each of which waits for a GPU
LOOKS: Final = 3  # readings in a run after its start; the steps of a new model up to the first do not count


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Time of a guided optimizer step relative to a plain one."""

    plain: float  # seconds of a plain step, median over pairs
    ratio: float  # guided / plain, median over pairs
    ratio_low: float  # least and greatest ratio of the pairs
    ratio_high: float
    pairs: int
    tokens: int  # tokens of a step


def step_cost(config: TrialConfig, data: RunData) -> StepCost:
    """Measure plain and guided steps of a student: model, batches, device and precision are the config's.

    data: training blocks, teacher table and validation blocks; only the first validation block is used. Guided steps
    have weight 1. Number of steps, learning rate and schedule of the config are not used. Raises InputError as `train`.
    """
    loop, teacher = config.loop, replace(config.teacher, schedule="linear", steps=1, min_weight=1.0)
    every = STEPS_BETWEEN[pick_device(loop).type]
    plain = replace(
        config,
        teacher=TeacherConfig(),
        optimizer=replace(config.optimizer, warmup_steps=1),
        loop=replace(loop, steps=LOOKS * every, eval_every=every, checkpoint_every=every, eval_batch_blocks=1),
    )
    guided, lengths_B = replace(plain, teacher=teacher), data.eval.lengths_B
    one_block = replace(
        data.eval, ids_BxT=data.eval.ids_BxT[:1], lengths_B=None if lengths_B is None else lengths_B[:1]
    )
    data, begun = replace(data, eval=one_block), time.perf_counter()
    pairs: list[tuple[float, float]] = []  # plain, guided
    while len(pairs) <= PAIRS and (len(pairs) <= LEAST_PAIRS or time.perf_counter() - begun < SECONDS):
        pairs.append((seconds_a_step(plain, data), seconds_a_step(guided, data)))
    tokens = loop.batch_blocks * loop.accumulation * config.tokens.context
    return cost_of(pairs[1:], tokens)


def cost_of(pairs: list[tuple[float, float]], tokens: int) -> StepCost:
    """Compute the cost from pairs of (plain, guided) seconds a step."""
    ratios = [guided / plain for plain, guided in pairs]
    return StepCost(
        plain=median(plain for plain, _ in pairs),
        ratio=median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        pairs=len(pairs),
        tokens=tokens,
    )


def seconds_a_step(config: TrialConfig, data: RunData) -> float:
    """Seconds of a training step, between the first and the last reading of the clock in a short run."""
    reports: list[Report] = []
    train(config, data, reports.append)
    seconds, steps = (reports[-1][name] - reports[1][name] for name in (names.TRAIN_SECONDS, names.STEP))
    return float(seconds / steps)
