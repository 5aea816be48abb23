"""run.json, the record of a run: what was asked, on which data, with what, and how far it got.

The driver writes it before the first trial and again at the end; the tables and reports read it, and so does whoever
goes on with the run. `spec` is the run's spec as plain values (sweeps/engine/specs); what reports read of it stands
here as properties. Light on purpose: reading a record needs neither Ray nor torch.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from trainable import names
from trainable.errors import InputError
from trainable.record.files import read_foreign_json, read_json

SCHEMA: Final = 1  # a change that older programs would misread takes the next number


@dataclass(frozen=True, kw_only=True)
class CorpusFacts:
    """The text that a run read."""

    source: str  # file name, folder, hub id or "builtin"
    fingerprint: str  # of its content
    rows: int  # of the whole corpus
    train_rows: int  # that the run trained on
    eval_rows: int  # that the run validated on
    empty_rows: int  # dropped from both
    unread_rows: int | None = None  # in both, that the tokenizer could hardly read; older records lack it
    eos_rows: int | None = None  # in both, whose own text gives an end of text; older records lack it
    demonstration: bool  # the built-in text, which shows that everything works and little more
    split: str | None = None  # official split that it is, where its files are named by splits; old records lack it


@dataclass(frozen=True, kw_only=True)
class TokenizerFacts:
    """What made tokens of the text."""

    spec: str  # as asked for: a folder, a hub id, or train:<vocabulary size>
    fingerprint: str
    vocab_size: int
    eos: str | None = None  # the token that ends a row; older records lack this and what follows
    eos_from: str | None = None  # the file that says so, or the setting tokens.eos
    switched_off: tuple[str, ...] | None = None  # of what its file asks: truncation, padding, dropout


@dataclass(frozen=True, kw_only=True)
class TokenFacts:
    """The tokens that trials read."""

    train_tokens: int
    eval_tokens: int
    train_blocks: int
    eval_blocks: int
    fingerprints: tuple[str, ...] = ()  # of the training and the validation blocks


@dataclass(frozen=True, kw_only=True)
class TeacherFacts:
    """A teacher's table."""

    rows: str  # that it was counted on: student, train_split, all, or none
    smoothing: str
    bigrams: int
    counted_tokens: int
    checksum: str  # "": it has no table
    eval_loss: float | None  # the table's own validation loss, nats per token; None: infinite, or no table
    kneser_ney_loss: float | None = None  # where that is infinite: of the Kneser-Ney estimate of the same counts
    ngrams: tuple[int, ...] = ()  # of an n-gram table: distinct n-grams of order 2, 3 and so on
    kind: str | None = None  # setting teacher.kind that it is of; older records lack it
    # of a model's answers, which other tables lack
    positions: int | None = None  # of training text that it was asked about
    top_k: int | None = None  # likeliest tokens kept at each
    truncated_losses: Mapping[str, float] | None = None  # validation loss by how many tokens are kept: {"8": 5.1}
    train_seconds: float | None = None  # that it was trained for, before the first trial
    answer_seconds: float | None = None  # that it took to answer

    @property
    def making_seconds(self) -> float | None:
        """Seconds of training and asking a model that teaches; None: nothing was trained, and counting is quick."""
        if self.train_seconds is None or self.answer_seconds is None:
            return None
        return self.train_seconds + self.answer_seconds

    @property
    def holds(self) -> str:
        """What the table holds, in words: "514,662 bigrams", or "514,662 bigrams, 1,402,113 3-grams"."""
        if self.top_k is not None:
            return f"the {self.top_k} likeliest tokens at {self.positions:,} positions"
        longer = (f"{number:,} {order}-grams" for order, number in enumerate(self.ngrams, 2) if order > 2)
        return ", ".join([f"{self.bigrams:,} bigrams", *longer])

    @property
    def own_loss(self) -> float | None:
        """Validation loss to hold against a student's: the table's own, else its Kneser-Ney estimate's."""
        return self.kneser_ney_loss if self.eval_loss is None else self.eval_loss


@dataclass(frozen=True, kw_only=True)
class TableFacts(TeacherFacts):
    """One of the tables of a run with several."""

    blocks: str  # key of the token blocks that go with it
    tokenizer: str | None = None  # fingerprint of its tokenizer; the oldest records lack it
    eval_half: str | None = None  # corpus.eval_half that its losses are of; older records lack it


@dataclass(frozen=True, kw_only=True)
class GroupFacts:
    """One arm of a search in groups: what tells it from the control, and what was searched, at every depth alike."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)  # dotted keys that it fixes
    space: Mapping[str, list[Any]]  # the values of each dotted key that it chooses from
    seeds: tuple[int, ...] = ()  # on which its winner runs again, on the half of the text that reports


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """All that run.json says."""

    study: str
    run: str  # name of the run folder
    created: str = ""  # UTC, ISO 8601
    ended: str | None = None
    wall_seconds: float | None = None  # of all drivers together; None before the first has ended
    complete: bool = False  # every trial has ended
    spec: Mapping[str, Any]
    corpus: CorpusFacts
    tokenizer: TokenizerFacts
    tokens: TokenFacts
    teacher: TeacherFacts | None  # of the first trial's settings
    tables: Mapping[str, TableFacts] = field(default_factory=dict)  # by table key; the oldest records lack them
    versions: Mapping[str, str]
    git_commit: str | None
    hardware: Mapping[str, Any]  # of the driver's machine
    command: tuple[str, ...] = ()  # that began the run
    model: str | None = None  # fingerprint of what the student takes of a model folder's config.json; None: a preset
    places: Mapping[str, str] | None = None  # where files of the spec lie that have moved since: {name there: name now}
    registered: str | None = None  # commit that has spec and rules of the run, from before its first confirmation trial
    precision_from: str | None = None  # why loop.precision auto took that of the spec; None: it was said, or is older

    @property
    def is_comparison(self) -> bool:
        """Whether the run goes through a fixed list of arms; else it is a search."""
        return bool(self.spec.get("kind") == "comparison")

    @property
    def is_grouped(self) -> bool:
        """Whether the run searches every arm in a group of its own, and confirms its winner on fresh seeds."""
        return bool(self.spec.get("kind") == "groups")

    @property
    def groups(self) -> tuple[GroupFacts, ...]:
        """The arms of a search in groups, the control first; none of another run."""
        listed = self.spec.get("groups", ())
        return tuple(GroupFacts(**{**one, "seeds": tuple(one.get("seeds", ()))}) for one in listed)

    @property
    def margin(self) -> float:
        """Nats per token below which a difference is no effect."""
        return float(self.spec.get("margin", names.MARGIN))

    @property
    def question(self) -> str:
        """What the run was to answer."""
        return str(self.spec["question"])

    @property
    def base(self) -> Mapping[str, Any]:
        """Settings that the trials share, as a tree."""
        base: Mapping[str, Any] = self.spec["base"]
        return base

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms of a comparison or of a search in groups, the control first; none of an older search."""
        return tuple(self.spec.get("arms", ()))

    @property
    def tuned(self) -> str | None:
        """Dotted key of which each arm of a comparison takes its best value, if any."""
        tuned: str | None = self.spec.get("tuned")
        return tuned

    @property
    def plans(self) -> tuple[Mapping[str, Any], ...]:
        """The planned trials of a comparison, as TrialPlan.to_dict says them; none of a search, which chooses."""
        return tuple(self.spec.get("plans", ()))

    @property
    def planned(self) -> Mapping[str, str]:
        """The planned trials of a comparison, each with the name of its control."""
        return {plan["name"]: plan["control"] for plan in self.plans}

    @property
    def num_samples(self) -> int:
        """How many trials each group has, of an older search each depth its guided ones; 0 of a comparison."""
        return int(self.spec.get("num_samples", 0))

    @property
    def layers(self) -> tuple[int, ...]:
        """Depths of a search; none of a comparison."""
        return tuple(self.spec.get("layers") or ())

    @property
    def space(self) -> Mapping[str, list[Any]]:
        """The values of each dotted key that an older search chooses from; of one in groups, see `groups`."""
        return self.spec.get("space") or {}

    @property
    def confirm_seeds(self) -> tuple[int, ...]:
        """Seeds on which a search runs its winners again."""
        return tuple(self.spec.get("confirm_seeds", ()))

    @property
    def grace_period(self) -> int | None:
        """The first step at which ASHA judges; None where it is off."""
        asha = self.spec.get("asha")
        return None if asha is None else int(asha["grace_period"])

    def with_own_names(self, folder: Path) -> "RunRecord":
        """The record with every file called by `own_name`, but for the spec, whose paths a resumption needs."""
        return replace(
            self,
            corpus=replace(self.corpus, source=own_name(self.corpus.source, folder)),
            tokenizer=replace(self.tokenizer, spec=own_name(self.tokenizer.spec, folder)),
            command=tuple(own_name(word, folder) for word in self.command),
        )

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any], path: Path | str = names.RUN_FILE) -> "RunRecord":
        """The inverse of `to_dict`; reads older records too. Raises RecordError, which names `path`, for any other."""
        if tree.get("schema", SCHEMA) != SCHEMA:
            raise RecordError(path, f"has schema {tree['schema']} but this version knows {SCHEMA}")
        spec = tree.get("spec")
        if not isinstance(spec, Mapping) or not isinstance(spec.get("base"), Mapping):
            raise RecordError(path, "has no settings under spec.base")
        given = {key: value for key, value in tree.items() if key != "schema"}
        for name, kind in _PARTS.items():
            if given.get(name) is not None:
                given[name] = _built(kind, given[name], path, f"{name}.")
        tables = given.get("tables", {})
        given["tables"] = {key: _built(TableFacts, table, path, f"tables.{key}.") for key, table in tables.items()}
        return _built(cls, given, path, "")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for run.json; what is not known yet, or was not kept, is left out."""
        tree = {"schema": SCHEMA, **asdict(self)}
        tree["corpus"] = _without_none(tree["corpus"], "unread_rows", "eos_rows", "split")
        tree["tokenizer"] = _without_none(tree["tokenizer"], "eos", "eos_from", "switched_off")
        young = ("tokenizer", "kneser_ney_loss", "eval_half", "kind", *_OF_A_MODEL)
        tree["tables"] = {key: _told(table, *young) for key, table in tree["tables"].items()}
        tree["teacher"] = tree["teacher"] and _told(tree["teacher"], *young)
        return _without_none(tree, "ended", "wall_seconds", "model", "places", "registered", "precision_from")


def _told(table: dict[str, Any], *young: str) -> dict[str, Any]:
    """What is written of a table: n-grams too, where there are longer ones than pairs."""
    told = _without_none(table, *young)
    return told if told["ngrams"] else {key: value for key, value in told.items() if key != "ngrams"}


_OF_A_MODEL: Final = ("positions", "top_k", "truncated_losses", "train_seconds", "answer_seconds")  # TeacherFacts


def model_in_words(layers: int, hidden: int, folder: str) -> str:
    """What tables call a model that teaches: by its size, or by its folder where it was given."""
    return f"model {Path(folder).name}" if folder else f"model of {layers} layer{'s' * (layers > 1)}, width {hidden}"


def own_name(text: str, folder: Path) -> str:
    """What a record calls a file: its path from `folder` if it lies below, else its own name; other texts as they are.

    A record may be read on any machine, so it never has a path of the one that made it. `text` may be key=path.
    """
    key, equals, value = text.rpartition("=")
    path = Path(value.removeprefix("file://"))
    if not path.is_absolute() or path == Path("/"):
        return text
    return f"{key}{equals}{path.relative_to(folder) if path.is_relative_to(folder) else path.name}"


class RecordError(InputError):
    """A run.json that is whole but not a record: its path, and what is the matter with it."""

    def __init__(self, path: Path | str, problem: str):
        super().__init__(f"{path} {problem}: restore it from a copy, or start a new run.")
        self.path, self.problem = path, problem


def read_record(run: Path) -> RunRecord:
    """run.json of a run folder. Raises InputError if the folder is not a run, or the file is damaged or no record."""
    path = run / names.RUN_FILE
    if not path.is_file():
        raise InputError(
            f"{run} is not a run folder, for it has no {names.RUN_FILE}: give one such as results/<study>/<run>."
        )
    kept_whole = (run / names.TRIALS_FOLDER).is_dir()  # the oldest records have tables only, and no checksum
    return RunRecord.from_dict(read_json(path, "start a new run") if kept_whole else read_foreign_json(path), path)


_PARTS: Final[dict[str, type[Any]]] = {
    "corpus": CorpusFacts,
    "tokenizer": TokenizerFacts,
    "tokens": TokenFacts,
    "teacher": TeacherFacts,
}
Built = TypeVar("Built")


def _built(kind: type[Built], tree: Any, path: Path | str, where: str) -> Built:
    """A dataclass from plain values. Raises RecordError that names the keys which are missing or not known."""
    if not isinstance(tree, Mapping):
        raise RecordError(path, f"has no object under {where.rstrip('.')}")
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    needed = {name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING}
    if lacking := needed - tree.keys():
        raise RecordError(path, f"lacks {', '.join(where + key for key in sorted(lacking))}")
    if strange := tree.keys() - known.keys():
        raise RecordError(path, f"has {', '.join(where + key for key in sorted(strange))}, unknown to this version")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()})


def _without_none(tree: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if value is not None or key not in keys}
