"""A group is one depth of one arm: the trials that it may search, and the confirmations of its winner on fresh seeds.

A searched trial is validated on the choosing half of the validation text, a confirmation on the reporting half. Gains
within a search are measured against the depth's reference control, which is one setting of the control's group; they
only rank settings.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sweeps.engine.specs.arms import RATE, SearchArm
from sweeps.engine.specs.space import Point, levels, points
from sweeps.engine.specs.trial_names import group_trial_name, shown, slug
from trainable import names
from trainable.config import TrialConfig, defaults, flatten, override
from trainable.plan import TrialPlan

CHOOSING, REPORTING = "choosing", "reporting"
_NO_TEACHER = defaults("teacher")
_AT_EVERY_LENGTH = ("teacher.schedule", "teacher.min_weight", RATE)  # settings that `at_length` leaves as they are


@dataclass(frozen=True, kw_only=True)
class Group:
    """One depth of one arm of a sweep."""

    base: TrialConfig  # the sweep's base at this depth; its steps are those of a confirmation
    arm: SearchArm
    search_steps: int  # optimizer steps of a searched trial
    control: "Group | None" = None  # the control's group at this depth; None: this is the control's group

    @property
    def key(self) -> tuple[int, str]:
        """Depth and arm, which identify a group in a sweep."""
        return self.base.model.layers, self.arm.name

    @property
    def name(self) -> str:
        """Name of the group in messages and journals."""
        return f"depth {self.base.model.layers} {self.arm.name}"

    @property
    def reference(self) -> Point:
        """The setting of the depth's reference control: the point of the control's space that is nearest to the base.

        Distances are relative and summed over the keys, so that a learning rate and a number of steps count alike.
        """
        space = (self.control or self).arm.space
        settings = flatten(at_length(self.base, self.search_steps))

        def distance(point: Point) -> float:
            own: dict[str, float] = {key: settings[key] for key in point}
            return sum((abs(point[key] - value) / max(abs(value), 1e-12) for key, value in own.items()), 0.0)

        return min(points(space), key=distance)

    def search_plan(self, point: Mapping[str, Any]) -> TrialPlan:
        """Plan of a searched trial: one setting of the arm's space, on the search's seed and the choosing half."""
        config = self._config({**self.arm.changes, **point, "loop.steps": self.search_steps}, CHOOSING)
        name = self._name(config)
        control = (self.control or self).reference_name
        return TrialPlan(
            name=name,
            role=names.CONTROL if name == control else names.SEARCH,
            control=control,
            config=config,
            arm=self.arm.name,
        )

    @cached_property
    def reference_name(self) -> str:
        """Name of the depth's reference control."""
        assert self.control is None, "the control's group has the reference"
        changes = {**self.arm.changes, **self.reference, "loop.steps": self.search_steps}
        return self._name(self._config(changes, CHOOSING))

    def confirmation_plan(self, winner: TrialPlan, seed: int, control: TrialPlan | None) -> TrialPlan:
        """Plan of a confirmation: the winner of the group on a fresh seed and the reporting half, at full length.

        control: the confirmation of the control's group on the same seed; None if this is the control's group.
        """
        whole = at_length(winner.config, self.base.loop.steps)
        loop = {f"loop.{key}": getattr(self.base.loop, key) for key in ("eval_every", "checkpoint_every")}
        config = override(whole, {**loop, "seed": seed, "corpus.eval_half": REPORTING})
        name = self._name(config)
        return TrialPlan(
            name=name,
            role=names.CONTROL if control is None else names.CONFIRM,
            control=name if control is None else control.name,
            config=config,
            arm=self.arm.name,
        )

    def parameters(self, plan: TrialPlan) -> Point:
        """Setting of a searched trial, as a point of the space."""
        settings = flatten(plan.config)
        return {key: settings[key] for key in self.arm.space}

    @property
    def schedule_ends(self) -> list[int]:
        """Steps at which schedules of searched trials end; each stands for an equal share of the settings."""
        if "teacher.steps" in self.arm.space:
            return [int(steps) for steps in self.arm.space["teacher.steps"].grid()]
        return [self.search_plan(self.dearest).config.teacher.steps]

    @property
    def dearest(self) -> Point:
        """The last value of every parameter: a setting whose teacher stays longest, which costs the most time."""
        return {key: parameter.grid()[-1] for key, parameter in self.arm.space.items()}

    @property
    def next_rates(self) -> tuple[float, float] | None:
        """The next learning rate below the grid and the next above it; None if the grid has fewer than two rates."""
        rates = self.arm.space[RATE].grid() if RATE in self.arm.space else []
        if len(rates) < 2:
            return None
        lower, higher = rates[0] ** 2 / rates[1], rates[-1] ** 2 / rates[-2]
        return float(f"{lower:.4g}"), float(f"{higher:.4g}")

    def beyond(self, winner: TrialPlan) -> list[Point]:
        """Settings with one more learning rate, beyond the winner's; none unless that is the lowest or the highest.

        Every other key keeps its whole grid, so that the new rate is searched as the others were.
        """
        if self.next_rates is None:
            return []
        rates, best = self.arm.space[RATE].grid(), winner.config.optimizer.lr
        more = {rates[0]: self.next_rates[0], rates[-1]: self.next_rates[1]}
        return self._at_rate(more[best]) if best in more else []

    def _at_rate(self, rate: float) -> list[Point]:
        return points({**self.arm.space, RATE: levels([rate])})

    def can_have(self, trial: str) -> bool:
        """Whether a trial of the group can have this name, whichever setting wins.

        A space may have 100,000 points, and each name needs a config: only points whose values stand in the name are
        tried.
        """
        if not trial.startswith(slug(self.arm.name)):
            return False
        return trial in self._names(
            point for point in self._points() if all(shown(point.get(key, "")) in trial for key in _AT_EVERY_LENGTH)
        )

    def trial_names(self) -> Iterator[str]:
        """Names of all trials that the group can have, whichever setting wins."""
        return self._names(self._points())

    def _points(self) -> list[Point]:
        return points(self.arm.space) + [point for rate in self.next_rates or () for point in self._at_rate(rate)]

    def _names(self, settings: Iterable[Point]) -> Iterator[str]:
        for point in settings:
            plan = self.search_plan(point)
            yield plan.name
            yield from (self.confirmation_plan(plan, seed, None).name for seed in self.arm.seeds)

    def _config(self, changes: Mapping[str, Any], half: str) -> TrialConfig:
        none = {} if self.arm.has_teacher else _NO_TEACHER
        steps = changes["loop.steps"]
        whole = at_length(override(self.base, none), steps)
        return override(whole, {**none, **changes, "corpus.eval_half": half})

    def _name(self, config: TrialConfig) -> str:
        return group_trial_name(self.arm.name, config, self.arm.space)


def at_length(config: TrialConfig, steps: int) -> TrialConfig:
    """The config for a run of `steps` steps; warm-up and the teacher's schedule keep their shares of the run."""
    if steps == config.loop.steps:
        return config
    share = steps / config.loop.steps
    every = min(config.loop.eval_every, steps)
    checkpoint = max(1, min(config.loop.checkpoint_every, steps) // every) * every
    tau = config.teacher.tau
    return override(
        config,
        {
            "loop.steps": steps,
            "loop.eval_every": every,
            "loop.checkpoint_every": checkpoint,
            "optimizer.warmup_steps": min(steps, round(config.optimizer.warmup_steps * share)),
            "teacher.steps": min(steps, round(config.teacher.steps * share)),
            "teacher.tau": None if tau is None else tau * share,
        },
    )
