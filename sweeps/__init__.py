"""One short file per study: what varies, what is fixed, how long it trains. `schedule_search.py` is the main one."""

import sys
from pathlib import Path

try:
    from analysis import require_own as _require_own
except ImportError:  # a user's file of that name comes before ours on the path, e.g. through PYTHONPATH
    if Path(sys.argv[0]).parent.name != "sweeps":
        raise
    print(
        f"error: Python finds another module analysis than {Path(__file__).parents[1] / 'analysis'}: rename that "
        "module, or remove its folder from PYTHONPATH.",
        file=sys.stderr,
    )
    raise SystemExit(2) from None
_is_command = Path(sys.argv[0]).parent.name == "sweeps"
_require_own("trainable", _is_command)
if _is_command:
    from trainable.numpy_sorts import avoid_slow_sorts as _avoid_slow_sorts

    _avoid_slow_sorts()  # before anything imports numpy
