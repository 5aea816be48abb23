"""Results to tables, words, pictures and pages; imports neither Ray nor torch.

A command (`python -m analysis.summary`, `.report`, `.curves`, `.kfold_table`, `.contrasts`, `.schedule_report`,
`.asha_replay`, `.published_runs`) reads a run folder with `results`, works out numbers in `tables/`, and shows them: in
words with `sections/`, as plots with `plots/`, which `figures/` draws as pictures and `page/` on one HTML page. `kinds`
says which of them a search has and which a comparison. `notebook` shows them where somebody works in Python.
"""

import sys
from importlib.util import find_spec
from pathlib import Path


def working_directory() -> Path:
    """The working directory of a command; where it has been removed, one sentence and exit status 2."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        print("error: the working directory has been removed: change to one that exists.", file=sys.stderr)
        raise SystemExit(2) from None


_is_command = sys.argv[:1] == ["-m"]  # so Python calls `python -m analysis.summary` while it imports this
if _is_command:
    # It looks in the working directory first, where a file of the user's named trainable.py or json.py would be
    # imported in place of the library's. The process is the command's own, so its path is, too.
    _working_directory, _home = working_directory(), Path(__file__).parents[1]
    sys.path[:] = [one for one in sys.path if Path(one).absolute() != _working_directory or _working_directory == _home]


def require_own(name: str, is_command: bool) -> None:
    """Refuse a file or folder of the same name as one of our packages that stands before it on Python's path.

    A command ends with one sentence and exit status 2; elsewhere ImportError is raised.
    """
    found, own = find_spec(name), Path(__file__).parents[1] / name / "__init__.py"
    if found is not None and found.origin is not None and Path(found.origin).samefile(own):
        return
    instead = found and (found.origin or ", ".join(found.submodule_search_locations or ()))
    said = f"Python finds {instead} where it should find {own.parent}: rename it, or take its folder from PYTHONPATH."
    if not is_command:
        raise ImportError(said)
    print(f"error: {said}", file=sys.stderr)
    raise SystemExit(2)


require_own("trainable", _is_command)
