"""Names of teachers on command lines and in tables, each with the settings that it stands for.

To add a name, add an entry to TEACHERS. A user's own class needs no entry: its import path, package.module:ClassName,
is accepted as a name, and tables use the name of the class.
"""

from collections.abc import Mapping
from typing import Any

from trainable.errors import require_choice


def _ngram(order: int) -> dict[str, Any]:
    return {"teacher.kind": "ngram", "teacher.order": order, "teacher.smoothing": "modified_kneser_ney"}


TEACHERS: dict[str, Mapping[str, Any]] = {
    **{kind: {"teacher.kind": kind} for kind in ("uniform", "ramp", "unigram", "shuffled", "bigram")},
    "trigram": _ngram(3),
    "4-gram": _ngram(4),
    "5-gram": _ngram(5),
    "model": {"teacher.kind": "model"},  # a small model that is trained first; teacher.model.* gives its size
}


def teacher_arm(name: str) -> tuple[str, dict[str, Any]]:
    """Name of a teacher in tables, and the dotted keys that it fixes. Raises InputError for an unknown name."""
    if ":" in name:
        return name.rpartition(":")[2], {"teacher.kind": name}
    require_choice("--teachers", name, TEACHERS)
    return name, dict(TEACHERS[name])
