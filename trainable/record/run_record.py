"""run.json, the record of a run: its question, data, tokenizer, teacher tables, software, machine and progress.

The driver writes the record before the first trial and again at the end; tables, reports and a resumed run read it.
`spec` is the run's spec as plain values (sweeps/engine/specs); the parts of it that reports read are properties here.
Light on purpose: reading a record needs neither Ray nor torch.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from trainable import names
from trainable.errors import InputError
from trainable.record.files import read_foreign_json, read_json

SCHEMA: Final = 1  # raise it for a change that older programs would misread


@dataclass(frozen=True, kw_only=True)
class CorpusFacts:
    """The text that a run read."""

    source: str  # file name, folder, hub id or "builtin"
    fingerprint: str  # of the corpus's content
    rows: int  # of the whole corpus
    train_rows: int  # rows that the run trained on
    eval_rows: int  # rows that the run validated on
    empty_rows: int  # empty rows of both, left out
    unread_rows: int | None = None  # rows of both that the tokenizer could hardly read; older records lack it
    eos_rows: int | None = None  # rows of both whose own text gives an end of text; older records lack it
    demonstration: bool  # whether it is the built-in text, which shows that everything works and little more
    split: str | None = None  # official split that was read, if files are named by splits; older records lack it


@dataclass(frozen=True, kw_only=True)
class TokenizerFacts:
    """The tokenizer that made tokens of the text."""

    spec: str  # as asked for: a folder, a hub id, or train:<vocabulary size>
    fingerprint: str
    vocab_size: int
    eos: str | None = None  # the token that ends a row; older records lack this and what follows
    eos_from: str | None = None  # the file that names this token, or the setting tokens.eos
    switched_off: tuple[str, ...] | None = None  # requests of its file that are not met: truncation, padding, dropout


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
    """A teacher table."""

    rows: str  # rows that it was counted on: student, train_split, all, or none
    smoothing: str
    bigrams: int
    counted_tokens: int
    checksum: str  # "": the teacher has no table
    eval_loss: float | None  # validation loss of the table, or of the whole model; None: infinite, or no table
    kneser_ney_loss: float | None = None  # of the Kneser-Ney estimate of the same counts, where eval_loss is infinite
    ngrams: tuple[int, ...] = ()  # of an n-gram table: number of distinct n-grams of order 2, 3 and so on
    kind: str | None = None  # the setting teacher.kind; older records lack it
    # the rest: of a table of a trained model's answers; None for other tables
    positions: int | None = None  # number of positions of training text that the model was asked about
    top_k: int | None = None  # number of likeliest tokens that are kept at each position
    truncated_losses: Mapping[str, float] | None = None  # validation loss by number of tokens kept: {"8": 5.1}
    train_seconds: float | None = None  # time to train the model, before the first trial
    answer_seconds: float | None = None  # time to ask the model

    @property
    def making_seconds(self) -> float | None:
        """Seconds of training and asking a model that teaches; None for other tables, which are made quickly."""
        if self.train_seconds is None or self.answer_seconds is None:
            return None
        return self.train_seconds + self.answer_seconds

    @property
    def holds(self) -> str:
        """Content of the table in words: "514,662 bigrams", or "514,662 bigrams, 1,402,113 3-grams"."""
        if self.top_k is not None:
            return f"the {self.top_k} likeliest tokens at {self.positions:,} positions"
        longer = (f"{number:,} {order}-grams" for order, number in enumerate(self.ngrams, 2) if order > 2)
        return ", ".join([f"{self.bigrams:,} bigrams", *longer])

    @property
    def own_loss(self) -> float | None:
        """Validation loss to compare with a student's, of what the student is taught.

        Of a model's answers it is the loss with the tokens that are kept; of a table without a finite loss, that of the
        Kneser-Ney estimate of its counts.
        """
        of_answers = (self.truncated_losses or {}).get(str(self.top_k))
        if of_answers is not None:
            return of_answers
        return self.kneser_ney_loss if self.eval_loss is None else self.eval_loss


@dataclass(frozen=True, kw_only=True)
class TableFacts(TeacherFacts):
    """One of the teacher tables of a run."""

    blocks: str  # key of the token blocks that belong to it
    tokenizer: str | None = None  # fingerprint of its tokenizer; the oldest records lack it
    eval_half: str | None = None  # corpus.eval_half on which its losses were measured; older records lack it


@dataclass(frozen=True, kw_only=True)
class GroupFacts:
    """One arm of a search in groups: its difference from the control and its search space, the same at every depth."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)  # settings that the arm fixes, by dotted key
    space: Mapping[str, list[Any]]  # values to choose from, by dotted key
    seeds: tuple[int, ...] = ()  # of the winner's confirmation trials, on the reporting half of the validation text


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Content of run.json."""

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
    teacher: TeacherFacts | None  # the table for the first trial's settings
    tables: Mapping[str, TableFacts] = field(default_factory=dict)  # by table key; the oldest records lack them
    versions: Mapping[str, str]
    git_commit: str | None
    hardware: Mapping[str, Any]  # of the driver's machine
    command: tuple[str, ...] = ()  # command line that began the run
    model: str | None = None  # fingerprint of the settings taken from a model folder's config.json; None: a preset
    places: Mapping[str, str] | None = None  # files of the spec that have moved since: {path in the spec: path now}
    registered: str | None = None  # commit with the run's spec and rules, from before its first confirmation trial
    precision_from: str | None = None  # why loop.precision auto chose the precision; None: auto did not, or old record

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
        """Arms of a search in groups, the control first; empty for other runs."""
        listed = self.spec.get("groups", ())
        return tuple(GroupFacts(**{**one, "seeds": tuple(one.get("seeds", ()))}) for one in listed)

    @property
    def margin(self) -> float:
        """Nats per token below which a difference is no effect."""
        return float(self.spec.get("margin", names.MARGIN))

    @property
    def question(self) -> str:
        """Question that the run was to answer."""
        return str(self.spec["question"])

    @property
    def base(self) -> Mapping[str, Any]:
        """Settings that the trials share, as a tree."""
        base: Mapping[str, Any] = self.spec["base"]
        return base

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms of a comparison or of a search in groups, control first; empty for an older search."""
        return tuple(self.spec.get("arms", ()))

    @property
    def tuned(self) -> str | None:
        """Dotted key of the setting for which each arm of a comparison takes its own best value, if there is one."""
        tuned: str | None = self.spec.get("tuned")
        return tuned

    @property
    def plans(self) -> tuple[Mapping[str, Any], ...]:
        """Planned trials of a comparison, in the form of TrialPlan.to_dict; empty for a search, which plans none."""
        return tuple(self.spec.get("plans", ()))

    @property
    def planned(self) -> Mapping[str, str]:
        """Names of the planned trials of a comparison, each with the name of its control."""
        return {plan["name"]: plan["control"] for plan in self.plans}

    @property
    def num_samples(self) -> int:
        """Number of trials of each group; in an older search, of guided trials at each depth; 0 for a comparison."""
        return int(self.spec.get("num_samples", 0))

    @property
    def layers(self) -> tuple[int, ...]:
        """Depths of a search; empty for a comparison."""
        return tuple(self.spec.get("layers") or ())

    @property
    def space(self) -> Mapping[str, list[Any]]:
        """Values that an older search chooses from, by dotted key; a search in groups has them in `groups`."""
        return self.spec.get("space") or {}

    @property
    def confirm_seeds(self) -> tuple[int, ...]:
        """Seeds on which a search runs its winners again."""
        return tuple(self.spec.get("confirm_seeds", ()))

    @property
    def grace_period(self) -> int | None:
        """First step at which ASHA judges; None if ASHA is off."""
        asha = self.spec.get("asha")
        return None if asha is None else int(asha["grace_period"])

    def with_own_names(self, folder: Path) -> "RunRecord":
        """Copy of the record in which each file is called by `own_name`; the spec keeps its paths, for resumption."""
        return replace(
            self,
            corpus=replace(self.corpus, source=own_name(self.corpus.source, folder)),
            tokenizer=replace(self.tokenizer, spec=own_name(self.tokenizer.spec, folder)),
            command=tuple(own_name(word, folder) for word in self.command),
        )

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any], path: Path | str = names.RUN_FILE) -> "RunRecord":
        """Build a record from plain values, as `to_dict` gives or gave them. Raises RecordError, which names `path`."""
        if tree.get("schema", SCHEMA) != SCHEMA:
            raise RecordError(path, f"has schema {tree['schema']} but this version reads schema {SCHEMA}")
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
        """The record as plain values, for run.json; values that are not known yet, or were not kept, are left out."""
        tree = {"schema": SCHEMA, **asdict(self)}
        tree["corpus"] = _without_none(tree["corpus"], "unread_rows", "eos_rows", "split")
        tree["tokenizer"] = _without_none(tree["tokenizer"], "eos", "eos_from", "switched_off")
        young = ("tokenizer", "kneser_ney_loss", "eval_half", "kind", *_OF_A_MODEL)
        tree["tables"] = {key: _told(table, *young) for key, table in tree["tables"].items()}
        tree["teacher"] = tree["teacher"] and _told(tree["teacher"], *young)
        return _without_none(tree, "ended", "wall_seconds", "model", "places", "registered", "precision_from")


def _told(table: dict[str, Any], *young: str) -> dict[str, Any]:
    """Plain values of a table for run.json: without keys of `young` that are None, and without empty `ngrams`."""
    told = _without_none(table, *young)
    return told if told["ngrams"] else {key: value for key, value in told.items() if key != "ngrams"}


_OF_A_MODEL: Final = ("positions", "top_k", "truncated_losses", "train_seconds", "answer_seconds")  # TeacherFacts


def model_in_words(layers: int, hidden: int, folder: str) -> str:
    """Name in tables of a model that teaches: its folder if one was given, else its size."""
    return f"model {Path(folder).name}" if folder else f"model of {layers} layer{'s' * (layers > 1)}, width {hidden}"


def own_name(text: str, folder: Path) -> str:
    """Name of a file in a record: its path from `folder` if it lies below, else its last part; other texts unchanged.

    A record may be read on any machine, so it has no path of the machine that wrote it. `text` may be key=path.
    """
    key, equals, value = text.rpartition("=")
    path = Path(value.removeprefix("file://"))
    if not path.is_absolute() or path == Path("/"):
        return text
    return f"{key}{equals}{path.relative_to(folder) if path.is_relative_to(folder) else path.name}"


class RecordError(InputError):
    """Raised for a run.json that is undamaged but not a record: its path and the problem."""

    def __init__(self, path: Path | str, problem: str):
        super().__init__(f"{path} {problem}: restore it from a copy, or start a new run.")
        self.path, self.problem = path, problem


def read_record(run: Path) -> RunRecord:
    """Read run.json of a run folder. Raises InputError if this is not a run, or the file is damaged or not a record."""
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
    """Build a dataclass from plain values. Raises a RecordError that names the missing or unknown keys."""
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
