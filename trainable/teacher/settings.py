"""Settings of the teacher: its kind and table, and its schedule.

Schedules, smoothings and kinds are chosen from their registries, whose modules also check the related numbers.
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
    """Annotation of a setting that names an entry of a registry, entries added later included."""

    registry: Mapping[str, Any]


def _entry_of(registry: Mapping[str, Any]) -> Any:
    """Return the type of a setting that names an entry of the registry; a command line shows the choices."""
    return Annotated[Literal[tuple(registry)], EntryOf(registry)]


if TYPE_CHECKING:
    Schedule = str
    Smoothing = str
else:
    Schedule, Smoothing = map(_entry_of, (SCHEDULES, SMOOTHINGS))

ORDERS = (2, 5)  # lowest and highest order of an n-gram teacher
MOST_KEPT = 1024  # largest top_k: of many more tokens, half precision could not keep the sum


@dataclass(frozen=True, kw_only=True)
class TeacherModelConfig:
    """Settings of kind model: the small model that is trained first, and the number of tokens kept of its answers."""

    layers: int = 1
    hidden: int = 64  # width
    steps: int = 300  # optimizer steps, with the student's batch size
    lr: float = 3e-3  # peak learning rate
    top_k: int = 16  # likeliest tokens kept of each answer; the mass of the others goes to the bigrams
    folder: str = ""  # folder of a trained model that transformers loads, used unchanged; "": a model is trained

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
    """Kind, table and schedule of the teacher."""

    schedule: Schedule = "none"
    steps: int = 0  # scheduling steps T: the weight is exactly `min_weight` from step T on
    min_weight: float = 0.0  # minimum weight, in [0, 1]
    tau: float | None = None  # decay constant in steps; None: the weight would be 0.01 at T
    kind: str = "bigram"  # a key of teacher.kinds.KINDS, or your own class as package.module:ClassName
    order: int = 2  # for kind ngram: number of tokens in an n-gram, 2 to 5, the predicted one included
    smoothing: Smoothing = "mle"
    smoothing_strength: float | None = None  # k of add_k, lambda of jelinek_mercer; None: the method's default
    # n-grams seen fewer times leave the table, and their mass goes to the back-off weight; for kind ngram also one
    # number for each order from 2, such as 1,2,2
    min_count: int | str = 1
    rows: TeacherRows = "student"  # which rows of text are counted
    model: TeacherModelConfig = field(default_factory=TeacherModelConfig)  # for kind model

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
            f"teacher.smoothing is {self.smoothing} but teacher.kind=ngram allows only modified_kneser_ney: set "
            "teacher.smoothing=modified_kneser_ney.",
        )
        require(
            self.kind != "model" or self.rows == "student",
            f"teacher.rows is {self.rows} but kind model is trained on the student's rows: leave out teacher.rows.",
        )

    @property
    def min_counts(self) -> tuple[int, ...]:
        """Smallest kept count of each order from 2. Raises InputError if `min_count` is malformed or falls."""
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
        """Whether the kind of teacher has a table; a kind without one only lowers the text's weight in the loss."""
        return has_rows(self.kind)

    @property
    def table_settings(self) -> list[Any]:
        """Settings that decide the table, for fingerprints.

        Settings that were added later are included only if they differ from their default, so that the fingerprints of
        older tables stay valid.
        """
        if self.kind == "model":
            return [self.kind, {"model": asdict(self.model)}]
        settings = [self.kind, self.smoothing, self.smoothing_strength, self.rows]
        settings += [] if self.min_count == 1 else [self.min_count]
        return settings if self.order == ORDERS[0] else [*settings, f"order {self.order}"]
