"""Where runs and models lie, as a user writes it: a path, or the URI of a store."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from trainable.config import require
from trainable.record.paths import user_path
from trainable.record.store import Store, is_uri

_JOB_COPY = "working_dir_files"  # in the path of what `ray job submit --working-dir` copies to the head


def run_place(option: str, text: str) -> Path | str:
    """A path, or a URI that is none. Raises InputError for one that cannot be opened."""
    if not is_uri(text):
        return user_path(text)
    parts = urlsplit(text)
    if parts.scheme.lower() != "file":
        Store(text)  # says what is wrong with it
        return text
    path = url2pathname(parts.path)
    require(
        parts.netloc in ("", "localhost") and path.startswith("/"),
        f"{option} is {text}: write file:///folder, or the path alone.",
    )
    return user_path(path)


def lasting_place(option: str, text: str) -> Path | str:
    """Where to write. Raises InputError as `run_place` does, and for a folder that Ray removes when the job ends."""
    place = run_place(option, text)
    return lasting_path(option, place) if isinstance(place, Path) else place


def lasting_path(option: str, path: Path) -> Path:
    """The path. Raises InputError for a folder that Ray removes when the job ends."""
    require(
        _JOB_COPY not in path.absolute().parts,
        f"{option} is {path}, which lies in the copy of the working folder that Ray removes after the job: give an "
        "absolute path, on a file system that all nodes share.",
    )
    return path
