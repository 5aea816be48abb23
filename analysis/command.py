"""How every command of analysis/ starts and ends: options in, a user's mistake as one sentence and exit status 2.

A run behind a URI is read, and written to, in a copy (trainable/record/run_files.py).
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import tyro

from trainable.errors import InputError
from trainable.record.run_files import StoredRunFiles, as_users_know
from trainable.record.store import ADVICE, StoreError, is_uri

_stored: list[StoredRunFiles] = []


def run_command(main: Callable[..., None], name: str) -> None:
    """Run `main` with the options of the command line of `python -m analysis.<name>`."""
    try:
        tyro.cli(main, prog=f"python -m analysis.{name}")
        for files in _stored:
            files.send()
    except (InputError, StoreError) as error:
        _refuse(error)


def run_path(address: str) -> Path:
    """Where the files of a run can be read: its path, or a copy of what lies behind its URI."""
    if not is_uri(address):
        return Path(address)
    files = StoredRunFiles(address)
    files.fetch_records()
    _stored.append(files)
    return files.path


def _refuse(error: Exception) -> NoReturn:
    advice = f": {ADVICE}." if isinstance(error, StoreError) else ""
    print(as_users_know(f"{error}{advice}"), file=sys.stderr)
    sys.exit(2)


def _argument(words: list[str]) -> Path:
    try:
        return run_path(words[0])
    except (InputError, StoreError) as error:  # the parser would draw a box around it
        _refuse(error)


RunPath = Annotated[
    Path,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="DIR|URI",
        instance_from_str=_argument,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    ),
]
