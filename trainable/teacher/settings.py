"""Settings of the teacher: what it knows, and how long it teaches.

Schedules, smoothings and kinds are chosen from their registries, which also check the numbers that go with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from trainable.errors import require
from trainable.teacher.kinds import check_kind, teacher_class
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
else:
    Schedule, Smoothing = map(_entry_of, (SCHEDULES, SMOOTHINGS))

ORDERS = (2, 5)  # lowest and highest of an n-gram teacher


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """What the teacher knows, and how long it teaches."""

    schedule: Schedule = "none"
    steps: int = 0  # scheduling steps T: the weight is exactly `min_weight` from step T on
    min_weight: float = 0.0  # the floor, in [0, 1]
    tau: float | None = None  # decay constant in steps; None: 1 % is left at T
    kind: str = "bigram"  # a key of teacher.kinds.KINDS, or a class of one's own as package.module:ClassName
    order: int = 2  # of kind ngram, 2 to 5: tokens of an n-gram, the predicted one included
    smoothing: Smoothing = "mle"
    smoothing_strength: float | None = None  # k of add_k, lambda of jelinek_mercer; None: the method's default
    # n-grams seen fewer times leave the table, their mass goes to the back-off weight; of kind ngram also a number for
    # each order from 2, such as 1,2,2
    min_count: int | str = 1
    rows: TeacherRows = "student"  # which rows are counted

    def __post_init__(self) -> None:
        check_schedule(self.schedule, self.steps, self.min_weight, self.tau)
        check_kind(self.kind)
        check_smoothing(self.smoothing, self.smoothing_strength, self.min_counts[0])
        lowest, highest = ORDERS
        require(
            lowest <= self.order <= highest, f"teacher.order is {self.order}: give a number from {lowest} to {highest}."
        )
        require(
            self.order == lowest or self.kind == "ngram" or ":" in self.kind,
            f"teacher.order is {self.order} but teacher.kind is {self.kind}: set teacher.kind=ngram, or leave out the "
            "order.",
        )
        require(
            self.kind != "ngram" or self.smoothing == "modified_kneser_ney",
            f"teacher.smoothing is {self.smoothing}, which an ngram teacher cannot have: set "
            "teacher.smoothing=modified_kneser_ney.",
        )

    @property
    def min_counts(self) -> tuple[int, ...]:
        """The smallest count of each order from 2. Raises InputError where `min_count` names none, or they fall."""
        orders = self.order - 1
        if isinstance(self.min_count, int):
            return (self.min_count,) * orders
        parts = self.min_count.split(",")
        counts = tuple(int(part) for part in parts if part.strip().isdecimal())
        require(
            len(counts) == len(parts) == orders and min(counts) >= 1 and list(counts) == sorted(counts),
            f"teacher.min_count is {self.min_count} for n-grams of order {self.order}: give one number, or one for "
            f"each order from 2 to {self.order}, at least 1 and none below the one before.",
        )
        return counts

    @property
    def has_table(self) -> bool:
        """Whether the kind of teacher knows something; else it only takes from the weight of the text."""
        return teacher_class(self.kind).has_table

    @property
    def table_settings(self) -> list[Any]:
        """Settings that decide the table, for fingerprints.

        Younger ones stand there only where they differ from what they were before there were such settings.
        """
        settings = [self.kind, self.smoothing, self.smoothing_strength, self.rows]
        settings += [] if self.min_count == 1 else [self.min_count]
        return settings if self.order == ORDERS[0] else [*settings, f"order {self.order}"]
