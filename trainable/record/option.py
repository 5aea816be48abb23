"""Options of a command line as `--help` and messages show them: a plain name, one default, 80 columns."""

import re
from collections.abc import Mapping
from typing import Any

import tyro

from trainable.record.lines import paragraph


def option(metavar: str, default: str = "") -> Any:
    """Return what stands in `Annotated` beside the type of an option.

    metavar: name of the value, such as INT or "FLOAT ...". default: the default in words, for an option whose own is
    None; without it the option's own default is shown.
    """
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})" if default else None)


def described(text: str | None) -> str | None:
    """Return the docstring of a command as its `--help` shows it: paragraphs in lines of 80 columns.

    tyro joins lines that begin with a letter, so the further lines of a paragraph are indented. Lines that were
    indented, which are commands, stay as they are, below the paragraph before them.
    """
    if text is None:
        return None
    shown = ""
    for part in text.strip("\n").split("\n\n"):
        if part.startswith(" "):
            shown += f"\n{part}"
        else:
            shown += "\n\n" + paragraph(" ".join(part.split()))
    return shown.strip("\n")


def in_options(text: str, setting_of: Mapping[str, str]) -> str:
    """Replace the settings that a message names by the options that set them, so that it has the words of the user.

    setting_of: {name of an option's field: setting}, such as {"train_rows": "corpus.train_rows"}.
    """
    if not setting_of:
        return text
    option_of = {setting: f"--{name.replace('_', '-')}" for name, setting in setting_of.items()}
    longest_first = sorted(option_of, key=len, reverse=True)
    pattern = rf"(?:--set )?(?<![\w.])({'|'.join(map(re.escape, longest_first))})\b"
    return re.sub(pattern, lambda found: option_of[found.group(1)], text)
