"""A home folder for a user that the machine does not know (docker run --user 1234): libraries fail without one."""

import getpass
import os
import tempfile
from pathlib import Path


def ensure_home() -> str | None:
    """Set USER and HOME for this process and its children where they are missing; return a sentence on a new HOME."""
    name = f"user-{os.getuid()}"
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        os.environ["USER"] = name
    if os.path.expanduser("~") != "~":  # noqa: PTH111  (Path.home() raises)
        return None
    home = Path(tempfile.gettempdir()) / f"home-of-{name}"
    home.mkdir(mode=0o700, exist_ok=True)
    os.environ["HOME"] = str(home)
    return f"User {os.getuid()} has no home folder here: this command takes {home}; set HOME to use another."
