"""A sweep as data: what varies, what is fixed, the budget, and the rules that make its comparison fair.

Checked whole before anything runs, so that a contradiction costs a sentence and not an hour.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from sweeps.engine.specs.pairs import control_plan, paired_plan
from sweeps.engine.specs.space import Range, Space, describe, from_description, points
from sweeps.engine.specs.trial_names import check_searchable, schedule_arm, shown
from sweeps.engine.specs.workload import Workload
from trainable import names
from trainable.config import ModelConfig, TrialConfig, from_dict, override, to_dict
from trainable.errors import InputError, require_seed
from trainable.plan import TrialPlan

Search = Literal["optuna", "random", "grid"]
LARGEST_SEARCH_SEED = 4_000_000  # each depth's searcher has a seed of its own, in its thousand


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

    def expected_steps(self, steps: int, trials: int) -> float:
        """Steps that each of so many trials runs on average, if they come in any order: the first always goes on."""
        share, expected, before = 1.0, 0.0, 0
        for rung in [*self.rungs(steps), steps]:
            expected += share * (rung - before)
            share *= 1 / self.reduction_factor + (1 - 1 / self.reduction_factor) / trials
            before = rung
        return expected


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A search for the best teacher schedule at each depth."""

    kind: ClassVar[str] = "search"
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
        if not self.layers or len(set(self.layers)) != len(self.layers) or min(self.layers) < 1:
            raise InputError(
                f"layers are {list(self.layers)}: give different depths of at least 1, such as --layers 1 2."
            )
        ModelConfig(layers=max(self.layers))
        _check_search(self)
        _check_seeds(self)
        if self.asha is not None:
            _check_asha(self, self.asha)
        _check_space(self)

    @property
    def trials(self) -> int:
        """How many trials there are at most: controls, guided trials, confirmations."""
        return len(self.layers) * (1 + self.num_samples + 2 * len(self.confirm_seeds))

    @property
    def depths(self) -> tuple[int, ...]:
        """Numbers of layers that it searches, each by itself."""
        return self.layers

    def configs(self) -> list[TrialConfig]:
        """The base alone: a search varies nothing that shapes the data."""
        return [self.base]

    def largest(self) -> list[TrialConfig]:
        """The base at its greatest depth."""
        return [override(self.base, {"model.layers": max(self.layers)})]

    def workloads(self) -> list[Workload]:
        """At each depth the control, the search, and both again on each seed of the confirmation."""
        middle = {key: parameter.grid()[len(parameter.grid()) // 2] for key, parameter in self.space.items()}
        steps, loads, again = self.base.loop.steps, [], []
        for layers in self.layers:
            control = override(self.base, {"model.layers": layers})
            guided = override(control, middle)
            expected = self.asha.expected_steps(steps, self.num_samples) if self.asha else steps
            loads += [Workload(config=control, trials=1, steps=steps)]
            loads += [Workload(config=guided, trials=self.num_samples, steps=expected)]
            again += [Workload(config=one, trials=len(self.confirm_seeds), steps=steps) for one in (control, guided)]
        return loads + again

    def trial_names(self) -> Iterator[str]:
        """Names of the controls, and of every schedule of the space, on every seed and at every depth."""
        for seed in (self.base.seed, *self.confirm_seeds):
            yield from (plan.name for plan in control_plans(self, seed))
            for layers in self.layers:
                for point in points(self.space):
                    changes = {**point, "model.layers": layers, "seed": seed}
                    yield guided_plan(self.base, names.SEARCH, changes).name

    def decides(self, key: str) -> bool:
        """Whether the dotted key is searched, or has an option of the study."""
        return key in self.space or key in ("model.layers", "seed")

    def plan_lines(self) -> list[str]:
        """The space, the controls, the budget against the full grid."""
        steps, size = self.base.loop.steps, len(points(self.space))
        controls = [p.name for seed in (self.base.seed, *self.confirm_seeds) for p in control_plans(self, seed)]
        rungs = self.asha.rungs(steps) if self.asha else []
        judged = f"judged by ASHA at step {', '.join(map(str, rungs))}" if rungs else "all to the end"
        seeds = ", ".join(map(str, self.confirm_seeds))
        again = f"; the best of each depth again on seeds {seeds}" if seeds else ""
        full = len(self.layers) * (size + 1) * steps
        return [
            *(f"{key}: {', '.join(map(shown, parameter.grid()))}" for key, parameter in self.space.items()),
            f"controls: {', '.join(controls)}",
            f"{self.num_samples} of {size} schedules at each depth by {self.search}, {judged}{again}",
            f"at most {self.trials} trials, {self.trials * steps:,} trial-steps (the full grid: {full:,})",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for run.json."""
        asha = self.asha and {"grace_period": self.asha.grace_period, "reduction_factor": self.asha.reduction_factor}
        return {
            "kind": self.kind,
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


def guided_plan(base: TrialConfig, role: str, changes: Mapping[str, Any]) -> TrialPlan:
    """A guided trial of `base` with dotted keys changed, called by its schedule and paired with its control."""
    config = override(base, changes)
    return paired_plan(schedule_arm(config.teacher), config, {}, role)


def control_plans(sweep: Sweep, seed: int) -> Iterator[TrialPlan]:
    """The controls of one seed, a depth each."""
    for layers in sweep.layers:
        yield control_plan(override(sweep.base, {"model.layers": layers, "seed": seed}))


def _check_search(sweep: Sweep) -> None:
    if sweep.base.teacher.schedule != "none":
        raise InputError(f"the base config has schedule {sweep.base.teacher.schedule}: a sweep's base is its control.")
    if not 0 <= sweep.search_seed <= LARGEST_SEARCH_SEED:
        raise InputError(f"search_seed is {sweep.search_seed}: give a seed from 0 to {LARGEST_SEARCH_SEED}.")
    if sweep.num_samples < 1:
        raise InputError(f"num_samples is {sweep.num_samples}: give at least 1 guided trial at each depth.")
    weights = sweep.space.get("teacher.min_weight")
    if isinstance(weights, Range) and not 0 <= weights.low <= weights.high <= 1:
        raise InputError(f"the floor's range is {weights.low}..{weights.high}: give weights between 0 and 1.")
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
        check_searchable(key, parameter.grid())
    if "teacher.schedule" not in sweep.space:
        raise InputError("the search space has no teacher.schedule: give at least one schedule type.")


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
