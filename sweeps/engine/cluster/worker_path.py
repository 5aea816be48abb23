"""Give workers the driver's import path, so that they import the same modules wherever the command was typed.

Ray puts the driver's working directory first on a worker's path. A user's file there, such as trainable.py, torch.py or
json.py, would be imported in place of the package of that name. So workers get the driver's own path instead.
"""

import sys
from pathlib import Path
from typing import Any

from ray.job_config import JobConfig


class OwnPath(JobConfig):  # type: ignore[misc]
    """A Ray job whose workers look for modules where the driver does, in the same order."""

    def _serialize(self) -> Any:
        """Return what Ray sends to the nodes; replace the path only now, after Ray has added the working directory."""
        if not self._runtime_env_has_working_dir():  # that of a submitted job has the package, and nodes find it there
            self._py_driver_sys_path = paths_to_insert(sys.path)
        return super()._serialize()


def paths_to_insert(driver_path: list[str]) -> list[str]:
    """Folders of the driver's path, last first, because a worker inserts each at the front of its own path."""
    folders = [entry for entry in driver_path if Path(entry).is_absolute()]
    return list(dict.fromkeys(folders))[::-1]
