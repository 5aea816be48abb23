"""What workers import: the modules that the driver imports, wherever the command was typed.

Ray puts the driver's working directory first on a worker's path, where a file of the user's named trainable.py (or
torch.py, json.py) would be imported in place of the package of that name. Workers get the driver's own path instead.
"""

import sys
from pathlib import Path
from typing import Any

from ray.job_config import JobConfig


class OwnPath(JobConfig):  # type: ignore[misc]
    """A Ray job whose workers look for modules where the driver does, in the same order."""

    def _serialize(self) -> Any:
        """What Ray sends to the nodes, at the moment at which it has added the working directory."""
        if not self._runtime_env_has_working_dir():  # a submitted job's copy of it has the package, and nodes find it
            self._py_driver_sys_path = paths_to_insert(sys.path)
        return super()._serialize()


def paths_to_insert(driver_path: list[str]) -> list[str]:
    """Folders of the driver's path, last first: a worker inserts each at the front of its own."""
    folders = [entry for entry in driver_path if Path(entry).is_absolute()]
    return list(dict.fromkeys(folders))[::-1]
