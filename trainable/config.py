"""Settings of a trial, as frozen dataclasses: data, model, teacher, optimizer, loop.

A search space names settings by the dotted keys of this tree (`teacher.steps`, `model.layers`, `seed`). `override` is
the one way to change a field; an unknown key raises. `to_dict` and `from_dict` round-trip through JSON. The settings
of text and teacher are defined in text/settings.py and teacher/settings.py, and can be imported from here too.
"""

import dataclasses
import difflib
import functools
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from trainable import names
from trainable.errors import InputError, require, require_choice, require_seed
from trainable.teacher.settings import EntryOf
from trainable.teacher.settings import Schedule as Schedule
from trainable.teacher.settings import Smoothing as Smoothing
from trainable.teacher.settings import TeacherConfig as TeacherConfig
from trainable.teacher.settings import TeacherModelConfig as TeacherModelConfig
from trainable.text.settings import CorpusConfig as CorpusConfig
from trainable.text.settings import Packing as Packing
from trainable.text.settings import TeacherRows as TeacherRows
from trainable.text.settings import TokensConfig as TokensConfig

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Device = Literal["auto", "cpu", "cuda"]
OutputBias = Literal["none", "unigram"]

MOST_LAYERS, MOST_HIDDEN = 1000, 65_536  # a mistyped size gives an error message, not a full memory


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The student: which architecture, how many layers, how wide, and whether its output layer gets a bias."""

    name: str = "tiny"  # "tiny", "small-llama2", or a folder with config.json
    layers: int = 1
    hidden: int | None = None  # width, a multiple of 8; None: the width of the named model
    output_bias: OutputBias = "none"  # unigram: a bias on the logits, at first the log unigram of the training rows

    def __post_init__(self) -> None:
        require(
            1 <= self.layers <= MOST_LAYERS,
            f"model.layers is {self.layers}: give at least 1 layer, up to {MOST_LAYERS}.",
        )
        require(
            self.hidden is None or (8 <= self.hidden <= MOST_HIDDEN and self.hidden % 8 == 0),
            f"model.hidden is {self.hidden}: give a multiple of 8 from 8 to {MOST_HIDDEN}.",
        )


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW with warm-up and cosine decay to zero."""

    lr: float = 3e-3  # peak
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip_norm: float = 1.0  # largest norm of the whole gradient
    warmup_steps: int = 10

    def __post_init__(self) -> None:
        require(self.lr > 0, f"optimizer.lr is {self.lr}: give a positive learning rate.")
        for name in ("beta1", "beta2"):
            beta = getattr(self, name)
            require(0 <= beta < 1, f"optimizer.{name} is {beta}: give a number in [0, 1).")
        require(self.eps > 0, f"optimizer.eps is {self.eps}: give a positive number.")
        require(self.weight_decay >= 0, f"optimizer.weight_decay is {self.weight_decay}: give at least 0.")
        require(self.clip_norm > 0, f"optimizer.clip_norm is {self.clip_norm}: give a positive norm.")
        require(self.warmup_steps >= 0, f"optimizer.warmup_steps is {self.warmup_steps}: give at least 0.")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The training loop: number of steps, batches, evaluations, checkpoints, precision and device."""

    steps: int = 120  # optimizer steps
    batch_blocks: int = 16  # blocks in a micro-batch
    accumulation: int = 1  # micro-batches in an optimizer step
    eval_every: int = 20  # steps between evaluations; each is reported
    eval_batch_blocks: int = 32
    checkpoint_every: int = 20  # steps between checkpoints, a multiple of eval_every
    keep_checkpoint: bool = False  # keep the checkpoint when the trial has ended
    precision: Precision = "auto"  # of autocast (auto: the faster one on this machine); weights are float32
    device: Device = "auto"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_blocks", "accumulation", "eval_every", "eval_batch_blocks"):
            value = getattr(self, name)
            require(value >= 1, f"loop.{name} is {value}: give at least 1.")
        require(
            self.checkpoint_every >= 1 and self.checkpoint_every % self.eval_every == 0,
            f"loop.checkpoint_every is {self.checkpoint_every}: give a multiple of eval_every ({self.eval_every}).",
        )


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """All settings that decide what one trial computes."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    tokens: TokensConfig = field(default_factory=TokensConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    seed: int = 0  # fixes initial weights and the order of batches

    def __post_init__(self) -> None:
        require_seed("seed", self.seed)
        require(
            self.teacher.steps <= self.loop.steps,
            f"teacher.steps is {self.teacher.steps} but loop.steps is {self.loop.steps}: "
            "give scheduling steps that fit in the run.",
        )
        self._check_fit()

    def _check_fit(self) -> None:
        """Raise InputError that names every setting longer than the run, so that a user can change all at once."""
        steps, every, warmup = self.loop.steps, self.loop.eval_every, self.optimizer.warmup_steps
        parts = {"loop.eval_every": every, "optimizer.warmup_steps": warmup}
        if beyond := [f"{key} is {value}" for key, value in parts.items() if value > steps]:
            mended = {"loop.eval_every": min(every, steps), "loop.checkpoint_every": min(every, steps)}
            mended["optimizer.warmup_steps"] = min(warmup, steps)
            shown = " ".join(f"{key}={value}" for key, value in mended.items())
            raise InputError(f"{' and '.join(beyond)} but loop.steps is {steps}: give more steps, or --set {shown}.")


DEFAULT = TrialConfig()
# Settings and groups of settings that were added after the first runs were recorded.
YOUNGER = (
    ("tokens", "eos"),
    ("corpus", "split"),
    ("corpus", "eval_half"),
    ("model", "output_bias"),
    ("model", "hidden"),
    ("teacher", "order"),
    ("teacher", "model"),
)


def override(config: TrialConfig, changes: Mapping[str, Any]) -> TrialConfig:
    """A copy of `config` with dotted keys changed, e.g. {"teacher.steps": 40, "seed": 1}.

    All changes are made at once, so that rules between fields see the final values.
    Raises InputError for an unknown key, a value of the wrong type, or a value out of range.
    """
    tree: dict[str, Any] = {}
    for key, value in changes.items():
        if key not in _hints():
            raise InputError(_unknown(key, list(_hints())))
        *groups, leaf = key.split(".")
        within = functools.reduce(lambda group, name: group.setdefault(name, {}), groups, tree)
        within[leaf] = value
    changed = _changed(config, tree, prefix="")
    assert isinstance(changed, TrialConfig)
    return changed


def flatten(config: TrialConfig) -> dict[str, Any]:
    """Return {"corpus.source": "builtin", ..., "seed": 0}: each setting under its dotted key."""
    return names.dotted(to_dict(config))


def defaults(group: str) -> dict[str, Any]:
    """Return {"teacher.schedule": "none", ...}: defaults of a group of settings, nested groups included."""
    return {key: value for key, value in flatten(DEFAULT).items() if key.startswith(f"{group}.")}


def from_text(key: str, text: str) -> Any:
    """Convert a user's text for a dotted key to the type of that setting.

    Text that cannot be converted is returned as it is, and `override` refuses it. Raises InputError for an unknown key.
    """
    hints = _hints()
    if key not in hints:
        raise InputError(_unknown(key, list(hints)))
    hint = hints[key]
    accepted = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in accepted and text.lower() == "none":
        return None
    if bool in accepted:
        return {"true": True, "false": False}.get(text.lower(), text)
    return _number(text) if int in accepted or float in accepted else text


def _number(text: str) -> int | float | str:
    """Return the number that a text spells, or the text itself; 1e3 is a whole number."""
    try:
        number = float(text)
    except ValueError:
        return text
    if not number.is_integer():
        return number
    try:
        return int(text)
    except ValueError:
        return int(number)


@functools.cache
def _hints() -> dict[str, Any]:
    """Return {dotted key: type of that setting} of all settings."""
    return _hints_of(TrialConfig, prefix="")


def _hints_of(group: Any, prefix: str) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(group).items():
        hints |= _hints_of(hint, f"{prefix}{name}.") if dataclasses.is_dataclass(hint) else {prefix + name: hint}
    return hints


def to_dict(config: TrialConfig) -> dict[str, Any]:
    """Nested dict of plain values, fit for JSON."""
    return _tree(config)


def _tree(group: Any) -> dict[str, Any]:
    # dataclasses.asdict also copies each value, which takes twice to four times as long: here all are immutable
    values = ((name, getattr(group, name)) for name in group.__dataclass_fields__)
    return {name: _tree(value) if dataclasses.is_dataclass(value) else value for name, value in values}


def identity(config: TrialConfig) -> dict[str, Any]:
    """Settings to take a fingerprint of: `to_dict` without those settings of YOUNGER that have their default.

    So the checkpoints and blocks of a run that began before these settings existed are still found.
    """
    tree, default = to_dict(config), to_dict(DEFAULT)
    for group, name in YOUNGER:
        if tree[group][name] == default[group][name]:
            del tree[group][name]
    return tree


def from_dict(tree: Mapping[str, Any]) -> TrialConfig:
    """The inverse of `to_dict`. Missing fields take their defaults; unknown fields and wrong types raise InputError."""
    config = _build(TrialConfig, tree, prefix="")
    assert isinstance(config, TrialConfig)
    return config


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" Known settings: {', '.join(sorted(known))}."
    return f"there is no setting {key!r}.{hint}"


def _build(cls: Any, tree: Mapping[str, Any], prefix: str) -> Any:
    if not isinstance(tree, Mapping):
        raise InputError(f"setting {prefix.rstrip('.')!r} should be a group of settings, not {tree!r}.")
    hints = _types(cls)
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if key not in hints:
            raise InputError(_unknown(prefix + key, [prefix + name for name in hints]))
        hint: Any = hints[key]
        is_group = dataclasses.is_dataclass(hint)
        values[key] = _build(hint, value, f"{prefix}{key}.") if is_group else _checked(prefix + key, value, hint)
    return cls(**values)


def _changed(group: Any, tree: Mapping[str, Any], prefix: str) -> Any:
    """Return a copy of a group of settings with the values of the tree, whose keys are known."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        within = getattr(group, key)
        if dataclasses.is_dataclass(within):
            values[key] = _changed(within, value, f"{prefix}{key}.")
        else:
            values[key] = _checked(prefix + key, value, _types(group.__class__)[key])
    return dataclasses.replace(group, **values)


@functools.cache
def _types(cls: Any) -> dict[str, Any]:
    """{field: its type} of a class of settings."""
    return typing.get_type_hints(cls, include_extras=True)


def _checked(key: str, value: Any, hint: Any) -> Any:
    """Return `value` if it has the type `hint` (an int is accepted as a float), else raise InputError."""
    if (choices := _choices(hint)) is not None:
        require_choice(key, value, choices)
        return value
    accepted = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in accepted:
        return None
    for wanted in accepted:
        if wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            require(math.isfinite(value), f"{key} is {value}: give a finite number.")
            return float(value)
        if type(value) is wanted:
            return value
    raise InputError(f"{key} is {value!r}: give {' or '.join(_TYPE_NAMES[wanted] for wanted in accepted)}.")


def _choices(hint: Any) -> Iterable[str] | None:
    """Choices of a setting with this type, as currently registered; None if the setting has no list of choices."""
    for entry in getattr(hint, "__metadata__", ()):
        if isinstance(entry, EntryOf):
            return entry.registry
    return get_args(hint) if typing.get_origin(hint) is Literal else None


_TYPE_NAMES: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    type(None): "none",
}
