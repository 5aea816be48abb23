"""Parts that the named studies share: options, the two scales, schedules in proportion, and the best schedule.

The published study ran 588 steps. A study gives its schedules in these steps, and `in_proportion` shortens them for
shorter runs: 240 of 588 steps become 60 of 147 on a laptop.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

from sweeps.engine.cli import main
from sweeps.engine.options import Options, base_config
from sweeps.engine.settings import LAPTOP, PUBLISHED
from sweeps.engine.specs.comparison import Arm, Comparison
from sweeps.engine.specs.trial_names import NO_TEACHER
from trainable.config import Schedule, TrialConfig, override
from trainable.errors import InputError, require_seed
from trainable.record.option import option

PUBLISHED_STEPS = 588
Scale = Literal["laptop", "published"]


@dataclass(frozen=True, kw_only=True)
class ScaleOptions:
    """The option for the size of a study."""

    GROUP = "model and run"
    scale: Scale = "laptop"
    """laptop: minutes on two cores; published: small-llama2, BookCorpus, the published sizes"""


@dataclass(frozen=True, kw_only=True)
class ArmOptions:
    """Options for what is compared."""

    GROUP = "comparison"
    seeds: Annotated[tuple[int, ...] | None, option("INT ...", "the study's")] = None
    """seeds of weights and batches: every arm runs on each"""
    arms: Annotated[tuple[str, ...], option("NAME ...", "all")] = ()
    """arms of the study to run beside the control"""


@dataclass(frozen=True, kw_only=True)
class StudyOptions(ScaleOptions, ArmOptions, Options):
    """Options of a named study: those of every study, its scale, its arms and seeds."""


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """Options for the one schedule that stands for the teacher."""

    GROUP = "comparison"
    schedule: Schedule = "linear"
    """type of the teacher's schedule"""
    schedule_steps: Annotated[int | None, option("INT", "240 of 588, in proportion to the run")] = None
    """scheduling steps, over which the teacher's weight falls"""
    min_weight: Annotated[float, option("FLOAT")] = 0.0
    """minimum weight of the teacher, which is left at the end of the schedule"""


@dataclass(frozen=True, kw_only=True)
class TeacherOptions(ScheduleOptions, StudyOptions):
    """Options of a study that does not vary the schedule."""


AnyStudyOptions = TypeVar("AnyStudyOptions", bound=StudyOptions)


def run_study(
    study: Callable[[AnyStudyOptions], Comparison],
    options_type: type[AnyStudyOptions],
    description: str | None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Run the command line of a study, and return the exit status (see `main`)."""
    return main(lambda options: chosen(study(options), options.arms), options_type, description, arguments)


def chosen(comparison: Comparison, arms: Sequence[str]) -> Comparison:
    """Return the comparison with the control and the named arms; with all arms if none is named."""
    known = [arm for arm in comparison.arms if arm != NO_TEACHER]
    for arm in arms:
        if arm not in known:
            raise InputError(
                f"--arms: {comparison.study} has no arm {arm!r}: give some of {', '.join(map(repr, known))}."
            )
    kept = tuple(plan for plan in comparison.plans if not arms or plan.arm in (NO_TEACHER, *arms))
    return replace(comparison, plans=kept)


def study_base(
    options: StudyOptions, changes: Mapping[str, Any], at: Mapping[Scale, Mapping[str, Any]] | None = None
) -> TrialConfig:
    """Return a study's fixed settings: those of the scale, then changes, then at[scale], then the user's options."""
    setting = LAPTOP if options.scale == "laptop" else PUBLISHED
    return base_config(options, override(setting, {**changes, **(at or {}).get(options.scale, {})}))


def seeds_of(options: StudyOptions, default: int) -> tuple[int, ...]:
    """Return the seeds of --seeds, or the seeds 0 to default - 1; only seed 0 in a smoke test without --seeds."""
    seeds = options.seeds
    if seeds is None:
        return tuple(range(1 if options.smoke_test else default))
    for seed in seeds:
        require_seed("a seed of --seeds", seed)
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"--seeds is {list(seeds)}: give different seeds, such as --seeds 0 1 2.")
    return seeds


def in_proportion(steps: int, config: TrialConfig) -> int:
    """Return steps of the published 588 in proportion to the steps of this run; at least 1."""
    return max(1, round(steps * config.loop.steps / PUBLISHED_STEPS))


def linear(published_steps: int, config: TrialConfig, min_weight: float = 0.0, name: str | None = None) -> Arm:
    """Return the arm of a linear schedule, which is named by its steps in the published study."""
    return schedule(name or f"linear {published_steps}", "linear", in_proportion(published_steps, config), min_weight)


def schedule(name: str, schedule_type: Schedule, steps: int, min_weight: float = 0.0, **more: Any) -> Arm:
    """Return the arm of a schedule. more: further keys under teacher, such as kind="uniform"."""
    keys = {"schedule": schedule_type, "steps": steps, "min_weight": min_weight, **more}
    return Arm(name, {f"teacher.{key}": value for key, value in keys.items()})


def best_schedule(
    options: TeacherOptions, config: TrialConfig, name: str | None = None, steps: int | None = None
) -> Arm:
    """Return the arm with the schedule of the options; without them linear over 240 of 588 steps, the published best.

    steps: scheduling steps of a study that sets them itself. A schedule in proportion is named by its published steps.
    """
    if options.schedule == "none":
        raise InputError("--schedule none is the control, which every study has: give another schedule.")
    own = options.schedule_steps if steps is None else steps
    called = name or f"{options.schedule} {240 if own is None else own}"
    chosen = in_proportion(240, config) if own is None else own
    return schedule(called, options.schedule, chosen, options.min_weight)
