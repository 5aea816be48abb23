"""Paths as users write them."""

from pathlib import Path

from trainable.errors import InputError


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
