"""Paths and names as users write them."""

import re
from pathlib import Path

from trainable.errors import InputError

_FOLDER_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,99}")


def user_path(text: str | Path) -> Path:
    """The path, `~` replaced. Raises InputError for an unknown user's home, or a path that no file system takes."""
    try:
        path = Path(text).expanduser()
        path.exists()  # raises where a name is too long
    except (RuntimeError, OSError) as error:
        reason = getattr(error, "strerror", None) or "there is no such user"
        shown = str(text) if len(str(text)) < 100 else f"{str(text)[:100]}..."
        raise InputError(f"{shown!r} cannot be a path ({reason}): correct it.") from None
    return path


def require_folder_name(what: str, name: str) -> None:
    """Raise InputError unless a folder can have the name, on any file system, and it leads to no other place."""
    if _FOLDER_NAME.fullmatch(name) is None:
        raise InputError(f"{what} {name!r} cannot be a folder: use letters, digits and . _ + - (100 at most).")
