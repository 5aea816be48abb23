"""A progress bar on a terminal, and silence in a log."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]  # (rows done since the last call)


@contextmanager
def progress_bar(what: str, total: int, show: bool | None = None) -> Iterator[Advance]:
    """Call the given function with the rows done. show: None shows the bar where stderr is a terminal."""
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda rows: bar.advance(task, rows)
