"""`python -m trainable.teacher` makes a table for your own text and tokenizer (trainable/table_command.py)."""

import sys
from contextlib import suppress
from pathlib import Path


def leave_working_directory() -> None:
    """Remove the working directory from Python's path, where `python -m` puts it first.

    A user's file in it with a name such as datasets.py or json.py would be imported instead of the library.
    """
    with suppress(FileNotFoundError):  # the working directory has been removed
        here, home = Path.cwd(), Path(__file__).absolute().parents[2]
        sys.path[:] = [one for one in sys.path if Path(one).absolute() != here or here == home]


if __name__ == "__main__":
    leave_working_directory()
    from trainable.numpy_sorts import avoid_slow_sorts

    avoid_slow_sorts()  # before anything imports numpy
    from trainable.table_command import main

    sys.exit(main())
