#!/usr/bin/env python
"""The main study: does a bigram teacher help at each depth, how much, with which schedule, and is it what bigrams know?

    python sweeps/schedule_search.py  # built-in text, 2 cores, 3 minutes
    python sweeps/schedule_search.py --corpus my_books.parquet --layers 1 2 3
    python sweeps/schedule_search.py --teachers uniform bigram trigram
    python sweeps/schedule_search.py --resume results/schedule_search/<run>

What varies: the arm (no teacher, teachers that know nothing of the text, the bigram teacher); in every arm the learning
rate; in the arm without a teacher the warm-up; in arms with a teacher the type of schedule, scheduling steps and
minimum weight. Each arm is searched separately at each depth, with the same number of trials. The winners then run
again on fresh seeds and on other validation text. What is fixed: the data, the batches and initial weights of a seed,
and all other settings in `sweeps/engine/settings.py`.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from sweeps.engine.cli import main
from sweeps.engine.options import Options, base_config
from sweeps.engine.settings import setting_of
from sweeps.engine.specs.arms import RATE, SearchArm
from sweeps.engine.specs.asha_spec import AshaSpec
from sweeps.engine.specs.search import MARGIN, Search, Sweep
from sweeps.engine.specs.space import Choice, Parameter, Range, levels
from sweeps.engine.specs.teachers import teacher_arm
from trainable.config import LoopConfig, OptimizerConfig, Schedule, TrialConfig, override
from trainable.errors import InputError
from trainable.record.option import option

QUESTION = "Which schedule of a teacher lowers the validation loss most at each depth, and is it what bigrams know?"
CONTROL = "control"
SAMPLES = 6  # trials of each arm at each depth


@dataclass(frozen=True, kw_only=True)
class SpaceOptions:
    """Options for the arms, the values that each tries, and the search through them."""

    GROUP = "search"
    layers: Annotated[tuple[int, ...], option("INT ...")] = (1, 2)
    """depths to search, each by itself"""
    teachers: Annotated[tuple[str, ...], option("NAME ...")] = ("uniform", "bigram")
    """arms beside the control: bigram, trigram, 4-gram, 5-gram, model, uniform, unigram, shuffled, ramp, or a class"""
    rates: Annotated[tuple[float, ...] | None, option("FLOAT ...", "the setting's, a third, three times")] = None
    """learning rates that every arm tries, smallest first"""
    warmup_steps: Annotated[tuple[int, ...] | None, option("INT ...", "the setting's, half, twice")] = None
    """warm-up steps that the control tries, smallest first"""
    schedules: Annotated[tuple[Schedule, ...], option("TYPE ...")] = ("linear", "exponential", "reciprocal")
    """types of schedule that teachers try: linear, exponential, reciprocal or step"""
    schedule_steps: Annotated[
        tuple[int, int, int] | None, option("INT INT INT", "from one evaluation to the whole run")
    ] = None
    """scheduling steps that teachers try: shortest, longest, increment"""
    min_weight: Annotated[tuple[float, float, float], option("FLOAT FLOAT FLOAT")] = (0.0, 0.5, 0.05)
    """minimum weights that teachers try: lowest, highest, increment"""
    search: Search = "optuna"
    """how values are chosen: optuna (TPE), random, or grid (all of them)"""
    num_samples: Annotated[int | None, option("INT", f"{SAMPLES}; of a grid all")] = None
    """trials of each arm at each depth"""
    seed: int = 0
    """seed of weights and batches in the search"""
    confirm_seeds: Annotated[tuple[int, ...] | None, option("INT ...", "1 2 3")] = None
    """fresh seeds on which the winner of each arm at each depth runs again"""
    margin: float = MARGIN
    """least mean gain that is called a help, nats per token"""
    search_seed: int = 0
    """seed of the searcher"""
    asha: bool = True
    """stop trials that fall behind the others of their arm and depth, after their own schedule has ended"""
    grace_period: Annotated[int | None, option("INT", "a quarter of the run")] = None
    """step of ASHA's first rung"""
    reduction_factor: Annotated[int | None, option("INT", "2")] = None
    """of the trials at a rung of ASHA, one in so many goes on"""


@dataclass(frozen=True, kw_only=True)
class SearchOptions(SpaceOptions, Options):
    """Options of this study."""


def schedule_search(options: SearchOptions) -> Sweep:
    """The sweep that the options describe."""
    check_options(options)
    if options.smoke_test:
        options = replace(options, layers=(1,), num_samples=2, confirm_seeds=(1,))
    base = override(base_config(options, setting_of(options.model)), {"seed": options.seed})
    return Sweep(
        study="schedule_search",
        question=QUESTION,
        base=base,
        layers=options.layers,
        arms=arms(options, base),
        search=options.search,
        num_samples=SAMPLES if options.num_samples is None else options.num_samples,
        search_seed=options.search_seed,
        asha=asha_of(options, base.loop) if options.asha else None,
        margin=options.margin,
    )


def check_options(options: SearchOptions) -> None:
    """Refuse options that would have no effect."""
    for name in ("teachers", "rates", "warmup_steps"):
        if getattr(options, name) == ():
            raise InputError(f"--{name.replace('_', '-')} is empty: name at least one, or leave it out.")
    for name in ("grace_period", "reduction_factor"):
        if not options.asha and getattr(options, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} is ASHA's, but --no-asha was given: leave one of them out.")
    if options.search == "grid" and options.num_samples is not None:
        raise InputError("--num-samples with --search grid, which runs every setting: leave it out, or use random.")


def arms(options: SearchOptions, base: TrialConfig) -> tuple[SearchArm, ...]:
    """The arms with their search spaces: the control, then the teachers."""
    seeds = (1, 2, 3) if options.confirm_seeds is None else options.confirm_seeds
    rates: Mapping[str, Parameter] = {RATE: levels(options.rates or rates_around(base.optimizer))}
    warm_ups = levels(options.warmup_steps or warm_ups_around(base))
    schedule: Mapping[str, Parameter] = {
        "teacher.schedule": Choice(options.schedules),
        "teacher.steps": Range(*(options.schedule_steps or schedule_range(base.loop))),
        "teacher.min_weight": Range(*options.min_weight),
    }
    control = SearchArm(name=CONTROL, space={**rates, "optimizer.warmup_steps": warm_ups}, seeds=seeds)
    teachers = (
        SearchArm(name=name, changes=changes, space={**schedule, **rates}, seeds=seeds)
        for name, changes in map(teacher_arm, options.teachers)
    )
    return (control, *teachers)


def rates_around(optimizer: OptimizerConfig) -> list[float]:
    """The setting's learning rate, a third of it and three times as much."""
    return [float(f"{optimizer.lr * factor:.4g}") for factor in (1 / 3, 1, 3)]


def warm_ups_around(base: TrialConfig) -> list[int]:
    """The setting's warm-up steps, half as many and twice as many, within the run."""
    own = base.optimizer.warmup_steps
    return sorted({own // 2, own, min(2 * own, base.loop.steps)})


def schedule_range(loop: LoopConfig) -> tuple[int, int, int]:
    """Shortest, longest, increment of the scheduling steps: from one evaluation to the whole run."""
    return loop.eval_every, loop.steps, max(1, loop.eval_every // 2)


def asha_of(options: SearchOptions, loop: LoopConfig) -> AshaSpec:
    """Settings of ASHA; by default its first rung is the first evaluation at or after a quarter of the run."""
    grace_period = options.grace_period
    if grace_period is None:
        grace_period = -(-loop.steps // (4 * loop.eval_every)) * loop.eval_every
    return AshaSpec(
        grace_period=grace_period,
        reduction_factor=2 if options.reduction_factor is None else options.reduction_factor,
    )


if __name__ == "__main__":
    sys.exit(main(schedule_search, SearchOptions, __doc__))
