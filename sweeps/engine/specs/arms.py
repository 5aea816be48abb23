"""An arm of a search as data: what it fixes, what it searches, and on which fresh seeds its winner runs again.

SearchArm(name="uniform", changes={"teacher.kind": "uniform"}, space={"teacher.schedule": ..., "optimizer.lr": ...})
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.engine.specs.space import Space, describe, from_description, points
from sweeps.engine.specs.trial_names import check_searchable
from trainable.errors import InputError, require_seed

RATE = "optimizer.lr"


@dataclass(frozen=True, kw_only=True)
class SearchArm:
    """One arm of a search; its space is searched separately at each depth, and each such search is a group."""

    name: str  # what tables call it
    changes: Mapping[str, Any] = field(default_factory=dict)  # dotted keys that it fixes
    space: Space  # dotted keys that it searches
    seeds: tuple[int, ...] = ()  # fresh seeds, on which its winner runs again

    def __post_init__(self) -> None:
        for key, parameter in self.space.items():
            values = parameter.grid()
            if key == "teacher.schedule" and "none" in values:
                raise InputError("the search space has schedule none, which is the control: leave it out.")
            check_searchable(key, values)
        for seed in self.seeds:
            require_seed("a seed of the confirmation", seed)
        if both := self.changes.keys() & self.space.keys():
            raise InputError(f"arm {self.name} fixes and searches {sorted(both)[0]}: do one of them.")

    @property
    def has_teacher(self) -> bool:
        """Whether the arm has a teacher, that is, searches or fixes a schedule."""
        return "teacher.schedule" in self.space or self.changes.get("teacher.schedule", "none") != "none"

    @property
    def size(self) -> int:
        """Number of different settings."""
        return len(points(self.space))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for run.json."""
        return {
            "name": self.name,
            "changes": dict(self.changes),
            "space": describe(self.space),
            "seeds": list(self.seeds),
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "SearchArm":
        """The inverse of `to_dict`."""
        return cls(
            name=tree["name"],
            changes=tree["changes"],
            space=from_description(tree["space"]),
            seeds=tuple(tree["seeds"]),
        )
