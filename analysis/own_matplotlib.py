"""Import matplotlib without the backend in MPLBACKEND, because pictures here go to files and need no backend.

Jupyter and Colab set MPLBACKEND for each command that a cell starts. If that backend is not installed here, matplotlib
cannot be imported and no sweep could start. Packages that draw therefore import this module first. Afterwards the named
backend is set for a notebook's own plots, where matplotlib knows it.
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
