"""Kinds of teacher, one file each: `prepare` makes the table of a kind, and `rows` the rows of a step, if it has any.

To add a kind, write its class and add an entry to KINDS: settings and command lines take their choices from its keys.
Add a rival, which does not know which token follows which, to names.CONTENT_FREE too. A class outside of this project
needs no entry: `teacher.kind=package.module:ClassName` names it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainable.errors import InputError, require, require_choice

if TYPE_CHECKING:
    from trainable.teacher.teacher import Teacher

# {kind: import path}, so that settings and command lines read the names without importing torch.
KINDS: dict[str, str] = {
    "bigram": "trainable.teacher.kinds.bigram:BigramTeacher",
    "ngram": "trainable.teacher.kinds.ngram:NgramTeacher",
    "model": "trainable.teacher.kinds.model:ModelTeacher",
    "shuffled": "trainable.teacher.kinds.shuffled:ShuffledTeacher",
    "unigram": "trainable.teacher.kinds.unigram:UnigramTeacher",
    "uniform": "trainable.teacher.kinds.uniform:UniformTeacher",
    "ramp": "trainable.teacher.kinds.ramp:RampTeacher",
}


def check_kind(kind: str) -> None:
    """Raise InputError for a name that is neither a kind nor an import path."""
    if ":" not in kind:
        require_choice("teacher.kind", kind, KINDS)


def has_rows(kind: str) -> bool:
    """Whether a kind of teacher gives rows, and so has a table. Raises InputError as `teacher_class`."""
    from trainable.teacher.teacher import RowTeacher

    return issubclass(teacher_class(kind), RowTeacher)


def teacher_class(kind: str) -> "type[Teacher]":
    """Import the class of a kind of teacher. Raises InputError for an import path without a complete teacher class."""
    check_kind(kind)
    from trainable.teacher.teacher import Teacher  # this import takes torch with it

    module, _, name = KINDS.get(kind, kind).partition(":")
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"teacher.kind is {kind}, which cannot be imported ({error}): give package.module:ClassName, and name the "
            "folder of the module in PYTHONPATH."
        ) from None
    require(
        isinstance(found, type) and issubclass(found, Teacher),
        f"teacher.kind is {kind}, which is no teacher class: derive the class from trainable.RowTeacher, or from "
        "trainable.Teacher.",
    )
    lacking = " and ".join(sorted(found.__abstractmethods__))
    require(not lacking, f"teacher.kind is {kind}, whose class has no method {lacking}: add what is missing.")
    return found  # type: ignore[no-any-return]
