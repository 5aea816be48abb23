"""A comparison as data: named arms, each run in the same units (seeds, folds, depths, budgets) beside its control.

    units = grid(base, {"seed": (0, 1, 2), "corpus.fold": range(5)})
    plans = paired_plans(units, lambda unit: [Arm("linear 240", {"teacher.schedule": "linear", "teacher.steps": 240})])

Every unit has one control, which differs from the arms in the teacher only. An arm may depend on its unit (a schedule
that grows with the run), so arms are given by a function.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from trainable import names
from trainable.config import TeacherConfig, TrialConfig, flatten, from_dict, override, to_dict
from trainable.errors import InputError
from trainable.plan import TrialPlan

NO_TEACHER = "none"  # the control's arm
# How a trial's name tells its unit; anything else that varies is refused.
_SHORT = {
    "model.layers": "L",
    "loop.steps": "n",
    "corpus.eval_rows": "v",
    "corpus.fold": "f",
    "optimizer.lr": "lr",
    "seed": "s",
}
_ALWAYS_NAMED = ("model.layers", "seed")


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: what tables call it, and the dotted keys it changes."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A study with a fixed list of trials."""

    study: str  # folder of its runs under results/
    question: str  # heads the summary
    base: TrialConfig  # what the units share; its schedule is "none"
    plans: tuple[TrialPlan, ...]  # controls before their guided trials
    tuned: str | None = None  # a dotted key of which each arm takes the value that is best for it

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
    def trials(self) -> int:
        """How many."""
        return len(self.plans)

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in their order."""
        return list(dict.fromkeys(plan.arm for plan in self.plans))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for run.json."""
        return {
            "kind": "comparison",
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
    """The units: `base` with every combination of the values of dotted keys, the last key fastest."""
    points = product(*(list(values) for values in over.values()))
    return [override(base, dict(zip(over, point, strict=True))) for point in points]


def paired_plans(units: Sequence[TrialConfig], arms: Callable[[TrialConfig], Sequence[Arm]]) -> tuple[TrialPlan, ...]:
    """The control and the arms of every unit; all controls come first, so that no worker waits for one."""
    named = _varied(units)
    controls = [_control(unit, named) for unit in units]
    guided = [
        TrialPlan(
            name=_name(arm.name, unit, named),
            role=names.ARM,
            control=control.name,
            config=override(unit, arm.changes),
            arm=arm.name,
        )
        for unit, control in zip(units, controls, strict=True)
        for arm in arms(unit)
    ]
    return (*controls, *guided)


def _control(unit: TrialConfig, named: Sequence[str]) -> TrialPlan:
    name = _name(NO_TEACHER, unit, named)
    config = override(unit, {f"teacher.{key}": value for key, value in vars(TeacherConfig()).items()})
    return TrialPlan(name=name, role=names.CONTROL, control=name, config=config, arm=NO_TEACHER)


def _varied(units: Sequence[TrialConfig]) -> list[str]:
    """Dotted keys that names tell: those in which units differ, and those they always tell."""
    settings = [flatten(unit) for unit in units]
    varied = [key for key in settings[0] if len({repr(one[key]) for one in settings}) > 1] if settings else []
    # what follows from a budget, not a unit of its own
    varied = [
        key for key in varied if key not in ("optimizer.warmup_steps", "loop.eval_every", "loop.checkpoint_every")
    ]
    unknown = [key for key in varied if key not in _SHORT]
    if unknown:
        raise InputError(
            f"units differ in {', '.join(unknown)}, which trial names do not tell: vary {', '.join(_SHORT)}."
        )
    return [key for key in _SHORT if key in varied or key in _ALWAYS_NAMED]


def _name(arm: str, unit: TrialConfig, named: Sequence[str]) -> str:
    """`linear-240-L1-f0-s0`"""
    settings = flatten(unit)
    slug = re.sub(r"[^0-9A-Za-z.]+", "-", arm).strip("-")
    return "-".join([slug, *(f"{_SHORT[key]}{settings[key]:g}" for key in named)])
