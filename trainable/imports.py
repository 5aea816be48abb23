"""Import large libraries without Python's search for garbage.

PyTorch, transformers and Ray make a million objects that stay. While they are imported, the collector looks through all
of them again and again, and finds nothing: some 15 to 20 % of the time.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage_yet() -> Iterator[None]:
    """Switch the garbage collector off for the imports inside a `with` block; leave it off if it was off before."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
