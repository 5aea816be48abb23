"""Start and end of every command of analysis/: parsing of options, errors as one sentence with exit status 2.

A run behind a URI is read and written in a local copy (trainable/record/run_files.py).
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, NoReturn

import tyro

from trainable.errors import InputError
from trainable.record.home import ensure_home
from trainable.record.option import described
from trainable.record.printing import steady_output
from trainable.record.run_files import RunFiles, StoredRunFiles
from trainable.record.store import ADVICE, StoreError, is_uri

_writing = ExitStack()  # sends the files that the command wrote into stored runs, when it ends
_stored: list[StoredRunFiles] = []  # the runs behind URIs that this command reads


def run_command(main: Callable[..., None], name: str) -> None:
    """Run `main` with the options of the command line of `python -m analysis.<name>`."""
    with steady_output():
        ensure_home()
        try:
            with _writing:
                what = described((main.__doc__ or "").partition("\n\n")[0])  # without the paragraph of its arguments
                tyro.cli(main, prog=f"python -m analysis.{name}", description=what)
        except (InputError, StoreError) as error:
            _refuse(error)
        except OSError as error:
            what = error.filename or f"python -m analysis.{name}"
            _refuse(
                InputError(f"{what} cannot be read or written ({error.strerror or error}): change its permissions.")
            )


def write_or_say(path: Path, write: Callable[[Path], object], option: str) -> bool:
    """Write a file and return whether that succeeded; otherwise print the reason and the option for another place."""
    try:
        write(path)
    except OSError as error:
        print(f"{shown(path)} could not be written ({error.strerror or error}): give {option}.", file=sys.stderr)
        return False
    return True


def run_path(address: str) -> Path:
    """Local path of a run's files: the given path, or a copy of the run behind a URI."""
    if not is_uri(address):
        return Path(address)
    files = StoredRunFiles(address)
    files.fetch_records()
    _stored.append(files)
    _writing.enter_context(files.writing())
    return files.path


def files_of(run: Path) -> RunFiles:
    """The RunFiles of a path that `run_path` returned."""
    return next((files for files in _stored if files.path == run), RunFiles(run))


def shown(text: str | Path) -> str:
    """A path or text for users: paths of local copies are replaced by the URIs of their runs."""
    said = str(text)
    for files in _stored:
        said = files.shown(said)
    return said


def _refuse(error: Exception) -> NoReturn:
    advice = f": {ADVICE}." if isinstance(error, StoreError) else ""
    print(shown(f"{error}{advice}"), file=sys.stderr)
    sys.exit(2)


def _argument(words: list[str]) -> Path:
    try:
        return run_path(words[0])
    except (InputError, StoreError) as error:  # otherwise the parser would print a box around the message
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
