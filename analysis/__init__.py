"""Results to tables, words, pictures and pages; imports neither Ray nor torch.

A command (`python -m analysis.summary`, `.report`, `.curves`, `.kfold_table`, `.contrasts`, `.schedule_report`,
`.asha_replay`, `.published_runs`) reads a run folder with `results` and computes numbers in `tables/`. It shows them in
words (`sections/`) and as plots (`plots/`), which `figures/` draws as pictures and `page/` on one HTML page. `kinds`
lists the sections and plots of a search and of a comparison. `notebook` shows results in a notebook or at a prompt.
"""

import sys
from importlib.util import find_spec
from pathlib import Path


def working_directory() -> Path:
    """The working directory. If it has been removed, end the command with one sentence and exit status 2."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        print("error: the working directory has been removed: change to one that exists.", file=sys.stderr)
        raise SystemExit(2) from None


_is_command = sys.argv[:1] == ["-m"]  # true for `python -m analysis.summary` while Python imports this file
if _is_command:
    # Python would search the working directory first, and import a user's file named trainable.py or json.py instead of
    # the library. This process belongs to the command, so its search path may be changed.
    _working_directory, _home = working_directory(), Path(__file__).parents[1]
    sys.path[:] = [one for one in sys.path if Path(one).absolute() != _working_directory or _working_directory == _home]


def require_own(name: str, is_command: bool) -> None:
    """Refuse a file or folder that Python finds in place of one of our packages.

    A command ends with one sentence and exit status 2; otherwise ImportError is raised.
    """
    found, own = find_spec(name), Path(__file__).parents[1] / name / "__init__.py"
    if found is not None and found.origin is not None and Path(found.origin).samefile(own):
        return
    instead = found and (found.origin or ", ".join(found.submodule_search_locations or ()))
    said = f"Python finds {instead} instead of {own.parent}: rename that module, or remove its folder from PYTHONPATH."
    if not is_command:
        raise ImportError(said)
    print(f"error: {said}", file=sys.stderr)
    raise SystemExit(2)


require_own("trainable", _is_command)
