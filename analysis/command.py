"""How every command of analysis/ starts and ends: options in, a user's mistake as one sentence and exit status 2."""

import sys
from collections.abc import Callable

import tyro

from trainable.errors import InputError


def run_command(main: Callable[..., None], name: str) -> None:
    """Run `main` with the options of the command line of `python -m analysis.<name>`."""
    try:
        tyro.cli(main, prog=f"python -m analysis.{name}")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
