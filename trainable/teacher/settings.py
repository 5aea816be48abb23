"""Settings of the teacher: what it knows, and how long it teaches.

Schedules, smoothings and kinds are chosen from their registries, which also check the numbers that go with them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from trainable.errors import require
from trainable.teacher.kinds import check_kind, has_rows
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
MOST_KEPT = 1024  # tokens of an answer: half precision could not keep the sum of many more


@dataclass(frozen=True, kw_only=True)
class TeacherModelConfig:
    """Settings of kind model: the small model that is trained first, and how much of its answers is kept."""

    layers: int = 1
    hidden: int = 64  # width
    steps: int = 300  # optimizer steps, of batches like the student's
    lr: float = 3e-3  # peak
    top_k: int = 16  # likeliest tokens kept of each answer; the mass of the others goes to the unigram
    folder: str = ""  # of a trained model that transformers loads, which is taken as it is; "": one is trained

    def __post_init__(self) -> None:
        for name in ("layers", "steps"):
            value = getattr(self, name)
            require(value >= 1, f"teacher.model.{name} is {value}: give at least 1.")
        require(
            self.hidden >= 8 and self.hidden % 8 == 0,
            f"teacher.model.hidden is {self.hidden}: give a multiple of 8.",
        )
        require(self.lr > 0, f"teacher.model.lr is {self.lr}: give a positive learning rate.")
        require(
            1 <= self.top_k <= MOST_KEPT, f"teacher.model.top_k is {self.top_k}: give a number from 1 to {MOST_KEPT}."
        )


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
    model: TeacherModelConfig = field(default_factory=TeacherModelConfig)  # of kind model

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
            f"teacher.smoothing is {self.smoothing} but teacher.kind=ngram knows modified_kneser_ney alone: set "
            "teacher.smoothing=modified_kneser_ney.",
        )
        require(
            self.kind != "model" or self.rows == "student",
            f"teacher.rows is {self.rows} but a teacher of kind model is trained on the student's rows: leave it out.",
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
        return has_rows(self.kind)

    @property
    def table_settings(self) -> list[Any]:
        """Settings that decide the table, for fingerprints.

        Younger ones stand there only where they differ from what they were before there were such settings.
        """
        if self.kind == "model":
            return [self.kind, {"model": asdict(self.model)}]
        settings = [self.kind, self.smoothing, self.smoothing_strength, self.rows]
        settings += [] if self.min_count == 1 else [self.min_count]
        return settings if self.order == ORDERS[0] else [*settings, f"order {self.order}"]
