"""Results to tables, words, pictures and pages; imports neither Ray nor torch.

A command (`python -m analysis.summary`, `.report`, `.curves`, `.kfold_table`, `.contrasts`, `.schedule_report`,
`.asha_replay`, `.published_runs`) reads a run folder with `results`, works out numbers in `tables/`, and shows them: in
words with `sections/`, as plots with `plots/`, which `figures/` draws as pictures and `page/` on one HTML page. `kinds`
says which of them a search has and which a comparison.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

if sys.argv[:1] == ["-m"]:
    # `python -m analysis.summary` looks in the working directory first, where a file of the user's named trainable.py
    # or json.py would be imported in place of the library's. The process is the command's own, so its path is, too.
    _working_directory, _home = Path.cwd(), Path(__file__).parents[1]
    sys.path[:] = [one for one in sys.path if Path(one).absolute() != _working_directory or _working_directory == _home]

for _name in ("trainable",):
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
