"""Settings of the teacher: what it knows, and how long it teaches.

Schedules, smoothings and kinds are chosen from their registries, which also check the numbers that go with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from trainable.errors import require_choice
from trainable.teacher.kinds import KINDS
from trainable.teacher.schedules import SCHEDULES, check_schedule
from trainable.teacher.smoothing import SMOOTHINGS, check_smoothing
from trainable.text.settings import TeacherRows


@dataclass(frozen=True, eq=False)
class EntryOf:
    """Annotation of a setting that names an entry of a registry, whatever has been added to it."""

    registry: Mapping[str, Any]


def _entry_of(registry: Mapping[str, Any]) -> Any:
    """The type of a setting that names an entry of the registry; a command line sees the choices."""
    return Annotated[Literal[tuple(registry)], EntryOf(registry)]


if TYPE_CHECKING:
    Schedule = str
    Smoothing = str
    TeacherKind = str
else:
    Schedule, Smoothing, TeacherKind = map(_entry_of, (SCHEDULES, SMOOTHINGS, KINDS))


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """The bigram table and how long it teaches."""

    schedule: Schedule = "none"
    steps: int = 0  # scheduling steps T: the weight is exactly `min_weight` from step T on
    min_weight: float = 0.0  # the floor, in [0, 1]
    tau: float | None = None  # decay constant in steps; None: 1 % is left at T
    kind: TeacherKind = "bigram"  # shuffled (rows permuted), unigram, uniform, ramp (no teacher) know less
    smoothing: Smoothing = "mle"
    smoothing_strength: float | None = None  # k of add_k, lambda of jelinek_mercer; None: the method's default
    min_count: int = 1  # bigrams seen fewer times leave the table, their mass goes to the back-off weight
    rows: TeacherRows = "student"  # which rows are counted

    def __post_init__(self) -> None:
        check_schedule(self.schedule, self.steps, self.min_weight, self.tau)
        check_smoothing(self.smoothing, self.smoothing_strength, self.min_count)
        require_choice("teacher.kind", self.kind, KINDS)

    @property
    def has_table(self) -> bool:
        """Whether the kind of teacher is a table; else it only takes from the weight of the text."""
        return KINDS[self.kind] is not None

    @property
    def table_settings(self) -> list[Any]:
        """Settings that decide the table, for fingerprints; min_count only where it is not 1: old keys stay."""
        settings = [self.kind, self.smoothing, self.smoothing_strength, self.rows]
        return settings if self.min_count == 1 else [*settings, self.min_count]
