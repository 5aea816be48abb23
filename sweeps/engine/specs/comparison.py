"""A comparison as data: named arms, each run in the same units (seeds, folds, depths, budgets) beside its control.

    units = grid(base, {"seed": (0, 1, 2), "corpus.fold": range(5)})
    plans = paired_plans(units, lambda unit: [Arm("linear 240", {"teacher.schedule": "linear", "teacher.steps": 240})])

Every unit has one control, which differs from the arms in the teacher only. An arm may depend on its unit (a schedule
that grows with the run), so arms are given by a function.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar

from sweeps.engine.specs.pairs import control_plan, paired_plan
from sweeps.engine.specs.trial_names import keys_of_units
from sweeps.engine.specs.workload import Workload
from trainable import names
from trainable.config import TrialConfig, flatten, from_dict, override, to_dict
from trainable.errors import InputError
from trainable.plan import TrialPlan, data_key


@dataclass(frozen=True)
class Arm:
    """One arm of a comparison: its name in tables, and the settings that it changes, by dotted key."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A study with a fixed list of trials."""

    kind: ClassVar[str] = "comparison"
    study: str  # folder of its runs under results/
    question: str  # heads the summary
    base: TrialConfig  # settings that the units share; its schedule is "none"
    plans: tuple[TrialPlan, ...]  # controls before their guided trials
    tuned: str | None = None  # dotted key of a setting for which each arm takes its own best value

    def __post_init__(self) -> None:
        if not self.plans:
            raise InputError(f"study {self.study} has no trials: give at least one seed.")
        known: set[str] = set()
        for plan in self.plans:
            if plan.name in known:
                raise InputError(
                    f"two trials of study {self.study} are called {plan.name}: give each arm and seed once."
                )
            known.add(plan.name)
            if plan.control not in known:
                raise InputError(f"trial {plan.name} comes before its control {plan.control}.")

    @property
    def registered(self) -> bool:
        """Whether run.json is to name the commit of the plan: no, only a search has rules to register."""
        return False

    @property
    def trials(self) -> int:
        """Number of trials."""
        return len(self.plans)

    @property
    def asha(self) -> None:
        """Early stopping: none, because every trial of a comparison runs to its end."""
        return None

    @property
    def steps_of_search(self) -> int:
        """Optimizer steps of the base; nothing is searched."""
        return self.base.loop.steps

    @property
    def depths(self) -> tuple[int, ...]:
        """Numbers of layers of the models, in ascending order."""
        return tuple(sorted({config.model.layers for config in self.configs()}))

    def configs(self) -> list[TrialConfig]:
        """Settings of all trials: units may differ in their data, arms in their tables."""
        return [plan.config for plan in self.plans]

    def largest(self) -> list[TrialConfig]:
        """One config for each pair of model and data."""
        return list({(config.model, data_key(config)): config for config in self.configs()}.values())

    def can_have(self, trial: str) -> bool:
        """Whether a trial has this name."""
        return any(plan.name == trial for plan in self.plans)

    def decides(self, key: str) -> bool:
        """Whether the arms or units set the dotted key; for keys of the teacher, controls are left out."""
        plans = [plan for plan in self.plans if plan.role != names.CONTROL or not key.startswith("teacher.")]
        values = {flatten(plan.config)[key] for plan in plans}
        varied = len(values) > 1 and key in ("model.layers", "corpus.fold", "seed")
        return varied or flatten(self.base)[key] not in values

    def workloads(self) -> list[Workload]:
        """One workload for each trial, with all its steps."""
        return [Workload(config=config, trials=1, steps=config.loop.steps) for config in self.configs()]

    def plan_lines(self) -> list[str]:
        """Lines of the plan: arms, units, cost."""
        controls = [plan.name for plan in self.plans if plan.role == names.CONTROL]
        trial_steps = sum(config.loop.steps for config in self.configs())
        return [
            f"arms: {', '.join(self.arms)}",
            f"controls, one a unit: {', '.join(controls)}",
            *([f"each arm takes its own best {self.tuned}"] if self.tuned else []),
            f"{self.trials} trials, {trial_steps:,} trial-steps",
        ]

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in their order."""
        return list(dict.fromkeys(plan.arm for plan in self.plans))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for run.json."""
        return {
            "kind": self.kind,
            "study": self.study,
            "question": self.question,
            "base": to_dict(self.base),
            "arms": self.arms,
            "tuned": self.tuned,
            "plans": [plan.to_dict() for plan in self.plans],
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "Comparison":
        """The inverse of `to_dict`."""
        return cls(
            study=tree["study"],
            question=tree["question"],
            base=from_dict(tree["base"]),
            plans=tuple(map(TrialPlan.from_dict, tree["plans"])),
            tuned=tree["tuned"],
        )


def grid(base: TrialConfig, over: Mapping[str, Iterable[Any]]) -> list[TrialConfig]:
    """The units: `base` with every combination of values of the dotted keys; the last key varies fastest."""
    points = product(*(list(values) for values in over.values()))
    return [override(base, dict(zip(over, point, strict=True))) for point in points]


def paired_plans(units: Sequence[TrialConfig], arms: Callable[[TrialConfig], Sequence[Arm]]) -> tuple[TrialPlan, ...]:
    """Plans of the control and the arms of every unit; all controls come first, so that no worker waits for one."""
    keys = keys_of_units(units)
    controls = [control_plan(unit, keys) for unit in units]
    guided = [paired_plan(arm.name, unit, arm.changes, names.ARM, keys) for unit in units for arm in arms(unit)]
    return (*controls, *guided)
