"""The main study: which teacher schedule helps most at each depth, and by how much?

    python sweeps/schedule_search.py                          # built-in corpus, 2 CPU cores
    python sweeps/schedule_search.py --corpus my_books.parquet --layers 1 2 3 --num-samples 40
    python sweeps/schedule_search.py --resume results/schedule_search/<run>

What varies: schedule type, scheduling steps, minimum weight; each depth is searched by itself. What is fixed: data,
batches and initial weights of a pair, and everything in `sweeps/engine/settings.py`.
"""

import sys
from dataclasses import dataclass, replace

from sweeps.engine.cli import main
from sweeps.engine.options import Options, base_config
from sweeps.engine.settings import setting_of
from sweeps.engine.specs.search import AshaSpec, Search, Sweep
from sweeps.engine.specs.space import Choice, Parameter, Range, Space, points
from trainable.config import LoopConfig, Schedule, override
from trainable.errors import InputError

QUESTION = "Which schedule of a bigram teacher lowers the validation loss most, at each depth?"


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Options):
    """What every study understands, and the search."""

    # --- search ---
    layers: tuple[int, ...] = (1, 2)
    """depths to search, each by itself"""
    schedules: tuple[Schedule, ...] = ("linear", "exponential", "reciprocal")
    """schedule types to search"""
    schedule_steps: tuple[int, int, int] | None = None
    """shortest, longest, increment of the scheduling steps"""
    min_weight: tuple[float, float, float] = (0.0, 0.5, 0.05)
    """lowest, highest, increment of the floor"""
    search: Search = "optuna"
    """optuna (TPE), random, or grid (every schedule of the space)"""
    num_samples: int | None = None
    """guided trials at each depth"""
    seed: int = 0
    """weights and batches of the search"""
    confirm_seeds: tuple[int, ...] | None = None
    """fresh seeds for the best schedule of each depth"""
    search_seed: int = 0
    """seed of the searcher"""
    asha: bool = True
    """stop guided trials that fall behind, after the longest schedule has ended"""
    grace_period: int | None = None
    """step of ASHA's first rung"""
    reduction_factor: int | None = None
    """of ASHA: 1 in so many goes on (default: 2)"""


def schedule_search(options: SearchOptions) -> Sweep:
    """The sweep that the options describe."""
    check_options(options)
    if options.smoke_test:
        options = replace(options, layers=(1,), num_samples=2, confirm_seeds=(1,))
    base = override(base_config(options, setting_of(options.model)), {"seed": options.seed})
    shortest, longest, increment = options.schedule_steps or schedule_range(base.loop)
    space: dict[str, Parameter] = {
        "teacher.schedule": Choice(options.schedules),
        "teacher.steps": Range(shortest, longest, increment),
        "teacher.min_weight": Range(*options.min_weight),
    }
    grace_period = options.grace_period
    factor = 2 if options.reduction_factor is None else options.reduction_factor
    if grace_period is None:
        grace_period = -(-longest // base.loop.eval_every) * base.loop.eval_every
    return Sweep(
        study="schedule_search",
        question=QUESTION,
        base=base,
        layers=options.layers,
        space=space,
        search=options.search,
        num_samples=guided_trials(options, space),
        search_seed=options.search_seed,
        confirm_seeds=(1, 2, 3) if options.confirm_seeds is None else options.confirm_seeds,
        asha=AshaSpec(grace_period=grace_period, reduction_factor=factor) if options.asha else None,
    )


def check_options(options: SearchOptions) -> None:
    """Refuse options that would have no effect."""
    for name in ("grace_period", "reduction_factor"):
        if not options.asha and getattr(options, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} is ASHA's, but --no-asha was given: leave one of them out.")
    if options.search == "grid" and options.num_samples is not None:
        raise InputError("--num-samples with --search grid, which runs every schedule: leave it out, or use random.")


def guided_trials(options: SearchOptions, space: Space) -> int:
    """At each depth: as asked; 6 by default, or the whole grid."""
    if options.num_samples is not None:
        return options.num_samples
    return len(points(space)) if options.search == "grid" else 6


def schedule_range(loop: LoopConfig) -> tuple[int, int, int]:
    """Shortest, longest, increment of the scheduling steps: from one evaluation to half the run."""
    longest = max(1, loop.steps // 2 // loop.eval_every) * loop.eval_every
    return loop.eval_every, longest, max(1, loop.eval_every // 2)


if __name__ == "__main__":
    sys.exit(main(schedule_search, SearchOptions, __doc__))
