"""A sweep as data: what varies, what is fixed, the budget, and the rules that make its comparison fair.

Checked whole before anything runs, so that a contradiction costs a sentence and not an hour.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sweeps.engine.specs.space import Range, Space, describe, from_description, points
from trainable import names
from trainable.config import ModelConfig, TeacherConfig, TrialConfig, from_dict, override, require_seed, to_dict
from trainable.errors import InputError
from trainable.plan import TrialPlan

Search = Literal["optuna", "random", "grid"]
LARGEST_SEARCH_SEED = 4_000_000  # each depth's searcher has a seed of its own, in its thousand
_NAMED = ("teacher.schedule", "teacher.steps", "teacher.min_weight", "teacher.tau")  # what `trial_name` tells


@dataclass(frozen=True, kw_only=True)
class AshaSpec:
    """Asynchronous successive halving: at steps grace, grace * factor, ... the top 1/factor of a depth goes on."""

    grace_period: int  # optimizer steps before the first rung
    reduction_factor: int = 2

    def rungs(self, steps: int) -> list[int]:
        """Steps at which trials are judged, below the end of the run."""
        rungs, rung = [], self.grace_period
        while rung < steps:
            rungs.append(rung)
            rung *= self.reduction_factor
        return rungs


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A search for the best teacher schedule at each depth."""

    study: str  # folder of its runs under results/
    question: str  # heads the summary
    base: TrialConfig  # everything that is fixed; its schedule is "none"
    layers: tuple[int, ...]
    space: Space  # dotted keys under teacher.*
    search: Search = "optuna"
    num_samples: int  # guided trials at each depth; the grid's size for search = "grid"
    search_seed: int = 0  # of the searcher
    confirm_seeds: tuple[int, ...] = ()  # fresh seeds on which the best schedule of each depth runs again
    asha: AshaSpec | None = None

    def __post_init__(self) -> None:
        _check_layers(self.layers)
        _check_search(self)
        _check_seeds(self)
        if self.asha is not None:
            _check_asha(self, self.asha)
        _check_space(self)

    @property
    def trials(self) -> int:
        """How many trials there are at most: controls, guided trials, confirmations."""
        return len(self.layers) * (1 + self.num_samples + 2 * len(self.confirm_seeds))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for run.json."""
        asha = self.asha and {"grace_period": self.asha.grace_period, "reduction_factor": self.asha.reduction_factor}
        return {
            "kind": "search",
            "study": self.study,
            "question": self.question,
            "base": to_dict(self.base),
            "layers": list(self.layers),
            "space": describe(self.space),
            "search": self.search,
            "num_samples": self.num_samples,
            "search_seed": self.search_seed,
            "confirm_seeds": list(self.confirm_seeds),
            "asha": asha,
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "Sweep":
        """The inverse of `to_dict`."""
        return cls(
            **{
                **{key: value for key, value in tree.items() if key != "kind"},
                "base": from_dict(tree["base"]),
                "layers": tuple(tree["layers"]),
                "space": from_description(tree["space"]),
                "confirm_seeds": tuple(tree["confirm_seeds"]),
                "asha": AshaSpec(**tree["asha"]) if tree["asha"] else None,
            }
        )


def longest_schedule(sweep: Sweep) -> int:
    """The largest scheduling steps the space allows, in optimizer steps."""
    steps = sweep.space.get("teacher.steps")
    return int(max(steps.grid())) if steps is not None else sweep.base.teacher.steps


def control_plan(config: TrialConfig) -> TrialPlan:
    """The control of a config: the same in everything, with no teacher."""
    control = override(config, {f"teacher.{k}": v for k, v in vars(TeacherConfig()).items()})
    name = trial_name(control)
    return TrialPlan(name=name, role=names.CONTROL, control=name, config=control, arm="none")


def guided_plan(base: TrialConfig, role: str, changes: Mapping[str, Any]) -> TrialPlan:
    """A guided trial of `base` with dotted keys changed, paired with its control."""
    config = override(base, changes)
    control = control_plan(config).name
    return TrialPlan(name=trial_name(config), role=role, control=control, config=config, arm=schedule_name(config))


def control_plans(sweep: Sweep, seed: int) -> Iterator[TrialPlan]:
    """The controls of one seed, a depth each."""
    for layers in sweep.layers:
        yield control_plan(override(sweep.base, {"model.layers": layers, "seed": seed}))


def trial_name(config: TrialConfig) -> str:
    """`linear-T240-min0.05-L2-s0`, or `none-L2-s0` for a control."""
    fold = [f"f{config.corpus.fold}"] if config.corpus.folds else []
    return "-".join([schedule_name(config), f"L{config.model.layers}", *fold, f"s{config.seed}"])


def schedule_name(config: TrialConfig) -> str:
    """`linear-T240-min0.05`, or `none`."""
    teacher = config.teacher
    if teacher.schedule == "none":
        return teacher.schedule
    tau = [f"tau{teacher.tau:g}"] if teacher.tau is not None else []
    return "-".join([teacher.schedule, f"T{teacher.steps}", f"min{teacher.min_weight:g}", *tau])


def _check_layers(layers: tuple[int, ...]) -> None:
    if not layers or len(set(layers)) != len(layers) or min(layers) < 1:
        raise InputError(f"layers are {list(layers)}: give different depths of at least 1, such as --layers 1 2.")
    ModelConfig(layers=max(layers))


def _check_search(sweep: Sweep) -> None:
    if sweep.base.teacher.schedule != "none":
        raise InputError(f"the base config has schedule {sweep.base.teacher.schedule}: a sweep's base is its control.")
    if not 0 <= sweep.search_seed <= LARGEST_SEARCH_SEED:
        raise InputError(f"search_seed is {sweep.search_seed}: give a seed from 0 to {LARGEST_SEARCH_SEED}.")
    if sweep.num_samples < 1:
        raise InputError(f"num_samples is {sweep.num_samples}: give at least 1 guided trial at each depth.")
    floor = sweep.space.get("teacher.min_weight")
    if isinstance(floor, Range) and not 0 <= floor.low <= floor.high <= 1:
        raise InputError(f"the floor's range is {floor.low}..{floor.high}: give weights between 0 and 1.")
    size = len(points(sweep.space))
    if sweep.num_samples > size:
        raise InputError(
            f"num_samples is {sweep.num_samples} but the space has only {size} different schedules: "
            f"give at most --num-samples {size}."
        )
    if longest_schedule(sweep) > sweep.base.loop.steps:
        raise InputError(
            f"the longest schedule has {longest_schedule(sweep)} steps but the run {sweep.base.loop.steps}: "
            "shorten the schedules or lengthen the run."
        )


def _check_space(sweep: Sweep) -> None:
    """Each value by itself makes a guided trial that fits the run, and trials that differ have different names."""
    guided = {"teacher.schedule": "linear", "teacher.steps": longest_schedule(sweep)}
    for key, parameter in sweep.space.items():
        for value in parameter.grid():
            config = override(sweep.base, guided | {key: value})
            if config.teacher.schedule == "none":
                raise InputError("the search space has schedule none, which is the control: leave it out.")
        if len({_shown(value) for value in parameter.grid()}) < len(parameter.grid()):
            raise InputError(f"values of {key} differ in no digit that trial names show (six): give larger steps.")
        if key not in _NAMED:
            raise InputError(f"the search space varies {key}, which trial names do not tell: vary {', '.join(_NAMED)}.")
    if "teacher.schedule" not in sweep.space:
        raise InputError("the search space has no teacher.schedule: give at least one schedule type.")


def _shown(value: Any) -> str:
    """As a trial's name tells it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check_seeds(sweep: Sweep) -> None:
    seeds = (sweep.base.seed, *sweep.confirm_seeds)
    for seed in sweep.confirm_seeds:
        require_seed("a seed of the confirmation", seed)
    if len(set(seeds)) != len(seeds):
        raise InputError(
            f"the search uses seed {sweep.base.seed} and confirmation {list(sweep.confirm_seeds)}: "
            "give different seeds, for a schedule is not confirmed by the seed that chose it."
        )


def _check_asha(sweep: Sweep, asha: AshaSpec) -> None:
    steps, longest, every = sweep.base.loop.steps, longest_schedule(sweep), sweep.base.loop.eval_every
    if asha.reduction_factor < 2:
        raise InputError(f"ASHA's reduction factor is {asha.reduction_factor}: give at least 2.")
    if asha.grace_period < longest:
        raise InputError(
            f"ASHA's first rung is at step {asha.grace_period}, inside the longest schedule ({longest} steps): while "
            f"the teacher is on, loss does not tell who will win; give a grace period of at least {longest}."
        )
    if asha.grace_period >= steps:
        raise InputError(
            f"ASHA's first rung is at step {asha.grace_period} of a run of {steps}: nothing could be stopped; give an "
            "earlier rung, a longer run, or no ASHA."
        )
    missed = [rung for rung in asha.rungs(steps) if rung % every]
    if missed:
        raise InputError(
            f"ASHA's rungs {missed} are not evaluation steps: make the grace period a multiple of loop.eval_every "
            f"({every})."
        )
