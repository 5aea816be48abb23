"""Where two specs differ, as one dotted key: what the second command of a run changes against the first."""

from collections.abc import Mapping
from typing import Any, NamedTuple

_ABSENT = "nothing"


class Difference(NamedTuple):
    """A key and its two values."""

    key: str
    was: Any
    now: Any


def first_difference(was: Any, now: Any, key: str = "") -> Difference | None:
    """The first place where two trees of plain values differ; None if they are equal."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        parts = [(f"{key}.{name}" if key else name, name) for name in {**was, **now}]
        pairs = [(path, was.get(name, _ABSENT), now.get(name, _ABSENT)) for path, name in parts]
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        pairs = [(f"{key}[{i}]", *pair) for i, pair in enumerate(zip(was, now, strict=True))]
    else:
        return None if was == now else Difference(key, was, now)
    found = (first_difference(one, other, path) for path, one, other in pairs)
    return next((difference for difference in found if difference is not None), None)
