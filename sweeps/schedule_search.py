"""The main study: which teacher schedule helps most at each depth, and by how much?

    python sweeps/schedule_search.py                          # built-in corpus, 2 CPU cores, under 5 minutes
    python sweeps/schedule_search.py --corpus my_books.parquet --layers 1 2 3 --num-samples 40
    python sweeps/schedule_search.py --resume results/schedule_search/<run>

What varies: schedule type, scheduling steps, minimum weight; each depth is searched by itself. What is fixed: data,
batches and initial weights of a pair, and everything in `sweeps/engine/settings.py`.
"""

import sys
from dataclasses import replace

from sweeps.engine.cli import Options, base_config, main
from sweeps.engine.settings import setting_of
from sweeps.engine.space import Choice, Parameter, Range, Space, points
from sweeps.engine.spec import AshaSpec, Sweep
from trainable.config import LoopConfig

QUESTION = "Which schedule of a bigram teacher lowers the validation loss most, at each depth?"


def schedule_search(options: Options) -> Sweep:
    """The sweep that the options describe."""
    if options.smoke_test:
        options = smallest(options)
    base = base_config(options, setting_of(options.model))
    shortest, longest, increment = options.schedule_steps or schedule_range(base.loop)
    space: dict[str, Parameter] = {
        "teacher.schedule": Choice(options.schedules),
        "teacher.steps": Range(shortest, longest, increment),
        "teacher.min_weight": Range(*options.min_weight),
    }
    grace_period = options.grace_period
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
        asha=AshaSpec(grace_period=grace_period, reduction_factor=options.reduction_factor) if options.asha else None,
    )


def guided_trials(options: Options, space: Space) -> int:
    """At each depth: as asked; 6 by default, or the whole grid."""
    if options.num_samples is not None:
        return options.num_samples
    return len(points(space)) if options.search == "grid" else 6


def schedule_range(loop: LoopConfig) -> tuple[int, int, int]:
    """Shortest, longest, increment of the scheduling steps: from one evaluation to half the run."""
    longest = max(1, loop.steps // 2 // loop.eval_every) * loop.eval_every
    return loop.eval_every, longest, max(1, loop.eval_every // 2)


def smallest(options: Options) -> Options:
    """The whole path in little: 2 guided trials at one depth, one fresh seed, 12 steps."""
    return replace(
        options,
        train_rows=2000,
        eval_rows=100,
        tokenizer="train:1024",
        layers=(1,),
        steps=12,
        num_samples=2,
        confirm_seeds=(1,),
        set=(
            "tokens.context=32",
            "loop.batch_blocks=4",
            "loop.eval_every=3",
            "loop.checkpoint_every=3",
            "optimizer.warmup_steps=2",
            *options.set,
        ),
    )


if __name__ == "__main__":
    sys.exit(main(schedule_search, __doc__))
