"""From the words of a command line to a study's options, which `--help` shows in groups.

An options type is the sum of small dataclasses, and the GROUP of each is the heading of its options. tyro makes a
heading of a nested dataclass, so each group is read as one, and the values are put together again.
"""

from collections.abc import Sequence
from dataclasses import fields, make_dataclass
from inspect import get_annotations
from typing import Annotated, Any

import tyro

from sweeps.engine.options import AnyOptions
from trainable.record.option import described

OWN = "this study"  # heading of the options of a class without a GROUP
LAST = ("where", "instead of a run")
ORDER = ("data", "model and run")  # what comes first; the study's own groups stand between


def parsed(options_type: type[AnyOptions], description: str | None, arguments: Sequence[str]) -> AnyOptions:
    """Return the options that the arguments give. Ends the process where they cannot be read, and after --help."""
    groups = groups_of(options_type)
    parts: list[tuple[str, Any]] = []
    for number, (title, names) in enumerate(groups.items()):
        part = _only(options_type, names)
        parts.append((f"group{number}", Annotated[part, tyro.conf.arg(name=f"{title}:", help="")]))
    whole = make_dataclass(options_type.__name__, parts)
    omit = (tyro.conf.OmitArgPrefixes,)
    found: Any = tyro.cli(whole, description=described(description), args=arguments, config=omit)
    given: dict[str, Any] = {}
    for number, names in enumerate(groups.values()):
        part = getattr(found, f"group{number}")
        given |= {name: getattr(part, name) for name in names}
    return options_type(**given)


def groups_of(options_type: type[AnyOptions]) -> dict[str, list[str]]:
    """Return {heading: names of its options}, in the order of --help."""
    found: dict[str, list[str]] = {}
    for field in fields(options_type):
        declares = next(cls for cls in options_type.__mro__ if field.name in get_annotations(cls))
        found.setdefault(vars(declares).get("GROUP", OWN), []).append(field.name)
    between = [title for title in found if title not in (*ORDER, *LAST)]
    return {title: found[title] for title in (*ORDER, *between, *LAST)}


def _only(options_type: type[AnyOptions], names: Sequence[str]) -> type[AnyOptions]:
    """Return the type with some of its options alone: tyro finds their types and help texts in the classes above it."""
    kept = {field.name: field for field in fields(options_type) if field.name in names}
    return type(options_type.__name__, (options_type,), {"__dataclass_fields__": kept})
