"""One short file per study: what varies, what is fixed, the budget. `schedule_search.py` is the main one."""

import sys
from pathlib import Path

try:
    from analysis import require_own as _require_own
except ImportError:  # a file of the user's with that name stands before ours on the path, such as of PYTHONPATH
    if Path(sys.argv[0]).parent.name != "sweeps":
        raise
    print(
        f"error: Python finds another analysis than {Path(__file__).parents[1] / 'analysis'}: rename it, or take its "
        "folder from PYTHONPATH.",
        file=sys.stderr,
    )
    raise SystemExit(2) from None
_require_own("trainable", is_command=Path(sys.argv[0]).parent.name == "sweeps")
