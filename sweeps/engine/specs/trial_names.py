"""Names of trials: the arm with its searched settings, then the unit, such as `linear-240-L1-f3-s0`.

    bigram-linear-T240-min0.05-lr0.003-L2-s0   searched: arm, schedule, scheduling steps, minimum weight, learning rate
    control-lr0.003-wu10-L1-s0                 searched without a teacher: learning rate, warm-up steps
    linear-240-L1-f3-s0                        compared: the arm "linear 240", 1 layer, fold 3, seed 0
    none-L1-lr0.003-s0                         a control of a comparison in which the learning rate varies

A name is also the name of a folder. It shows every setting in which trials of a run may differ; trials that differ in
any other setting are refused.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from trainable.config import TeacherConfig, TrialConfig, flatten
from trainable.errors import InputError

NO_TEACHER: Final = "none"  # the control's arm
# {dotted key: short name} of the settings of a unit, in their order in a name; units that differ in others are refused.
_UNIT: Final = {
    "model.layers": "L",
    "loop.steps": "n",
    "corpus.eval_rows": "v",
    "corpus.fold": "f",
    "optimizer.lr": "lr",
    "optimizer.beta2": "beta2_",
    "seed": "s",
}
_ALWAYS: Final = ("model.layers", "seed")
_FROM_THE_BUDGET: Final = ("optimizer.warmup_steps", "loop.eval_every", "loop.checkpoint_every")
_OF_OPTIMIZER: Final = {"optimizer.lr": "lr", "optimizer.warmup_steps": "wu"}
SEARCHED: Final = (
    *("teacher.schedule", "teacher.steps", "teacher.min_weight", "teacher.tau"),  # shown by `schedule_arm`
    *_OF_OPTIMIZER,
)


def trial_name(arm: str, unit: TrialConfig, unit_keys: Sequence[str]) -> str:
    """Name of a trial: its arm, then the settings `unit_keys` of its unit."""
    settings = flatten(unit)
    return "-".join([slug(arm), *(f"{_UNIT[key]}{shown(settings[key])}" for key in unit_keys)])


def group_trial_name(arm: str, config: TrialConfig, searched: Iterable[str]) -> str:
    """Name of a trial of a group: its arm, its schedule if it has a teacher, other searched settings, its unit."""
    settings, searched = flatten(config), set(searched)
    schedule = [] if config.teacher.schedule == NO_TEACHER else [schedule_arm(config.teacher)]
    more = [f"{short}{shown(settings[key])}" for key, short in _OF_OPTIMIZER.items() if key in searched]
    return trial_name("-".join([slug(arm), *schedule, *more]), config, keys_of_unit(config))


def slug(arm: str) -> str:
    """An arm's name in the form that names of folders have."""
    return re.sub(r"[^0-9A-Za-z.+_]+", "-", arm).strip("-")


def keys_of_unit(unit: TrialConfig) -> list[str]:
    """Dotted keys that the name of a single unit shows: depth, fold if there are folds, seed."""
    folds = unit.corpus.folds is not None
    return [key for key in _UNIT if key in _ALWAYS or (key == "corpus.fold" and folds)]


def keys_of_units(units: Sequence[TrialConfig]) -> list[str]:
    """Dotted keys that names of several units show: depth, seed, and all that differ. Raises InputError for others."""
    settings = [flatten(unit) for unit in units]
    differ = {key for key in settings[0] if len({repr(one[key]) for one in settings}) > 1} if settings else set()
    unknown = sorted(differ - _UNIT.keys() - set(_FROM_THE_BUDGET))
    if unknown:
        raise InputError(
            f"units differ in {', '.join(unknown)}, which trial names do not show: vary {', '.join(_UNIT)}."
        )
    return [key for key in _UNIT if key in differ or key in _ALWAYS]


def schedule_arm(teacher: TeacherConfig) -> str:
    """Part of a trial's name for its schedule: `linear-T240-min0.05`, or `none`."""
    if teacher.schedule == NO_TEACHER:
        return NO_TEACHER
    tau = [f"tau{shown(teacher.tau)}"] if teacher.tau is not None else []
    return "-".join([teacher.schedule, f"T{teacher.steps}", f"min{shown(teacher.min_weight)}", *tau])


def check_searchable(key: str, values: Iterable[Any]) -> None:
    """Raise InputError unless trials that differ in the values of this key have different names."""
    values = list(values)
    if len({shown(value) for value in values}) < len(values):
        raise InputError(f"values of {key} differ in no digit that trial names show (six): give larger steps.")
    if key not in SEARCHED:
        raise InputError(f"the search space varies {key}, which trial names do not show: vary {', '.join(SEARCHED)}.")


def shown(value: Any) -> str:
    """A value as names show it: six digits of a float, all digits of an integer."""
    return f"{value:g}" if isinstance(value, float) else str(value)
