"""Import matplotlib whatever backend the surroundings name: pictures here go to files and need none.

Jupyter and Colab set MPLBACKEND for each command that a cell starts. Where that backend is not installed beside this
project, matplotlib refuses to be imported, and no sweep would start. So the packages that draw import this first. The
plots of a notebook's own that are drawn after an import of ours get the backend that it names, where matplotlib has it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

BACKEND_VARIABLE: Final = "MPLBACKEND"


@contextmanager
def _no_backend_named() -> Iterator[None]:
    before = os.environ.pop(BACKEND_VARIABLE, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[BACKEND_VARIABLE] = before


_is_new = "matplotlib" not in sys.modules
with _no_backend_named():
    import matplotlib

if _is_new and (_named := os.environ.get(BACKEND_VARIABLE)):
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = _named
