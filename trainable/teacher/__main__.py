"""`python -m trainable.teacher` makes a table for one's own text and tokenizer (trainable/table_command.py)."""

import sys
from contextlib import suppress
from pathlib import Path


def leave_working_directory() -> None:
    """Take the working directory from Python's path, where `python -m` puts it before all else.

    A file of the user's there that is called datasets.py or json.py would be imported in place of the library's.
    """
    with suppress(FileNotFoundError):  # it has been removed
        here, home = Path.cwd(), Path(__file__).absolute().parents[2]
        sys.path[:] = [one for one in sys.path if Path(one).absolute() != here or here == home]


if __name__ == "__main__":
    leave_working_directory()
    from trainable.table_command import main

    sys.exit(main())
