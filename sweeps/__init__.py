"""One short file per study: what varies, what is fixed, the budget. `schedule_search.py` is the main one."""

import sys
from importlib.util import find_spec
from pathlib import Path

for _name in ("trainable", "analysis"):
    # A file or folder of the same name that stands before ours on the path, such as of PYTHONPATH.
    _found, _own = find_spec(_name), Path(__file__).parents[1] / _name / "__init__.py"
    if _found is None or _found.origin is None or not Path(_found.origin).samefile(_own):
        _instead = _found and (_found.origin or ", ".join(_found.submodule_search_locations or ()))
        print(
            f"error: Python finds {_instead} where it should find {_own.parent}: rename it, or take its folder from "
            "PYTHONPATH.",
            file=sys.stderr,
        )
        raise SystemExit(2)
