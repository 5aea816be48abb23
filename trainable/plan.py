"""What a trial is to do, as data: its name, role, control and settings, and which blocks and table it reads.

Light on purpose: the command line, the sweep's spec and its run folder speak of plans, and need neither Ray nor torch.
"""

from dataclasses import dataclass
from typing import Any

from trainable.config import TrialConfig, from_dict, to_dict
from trainable.record.files import fingerprint
from trainable.record.paths import require_folder_name


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """One trial of a run: what it is called, what it is for, and its settings."""

    name: str  # readable and unique in the run, e.g. linear-T240-min0.05-L2-s0
    role: str  # names.CONTROL, names.ARM, names.SEARCH or names.CONFIRM
    control: str  # name of the trial its gain is taken against; its own name for a control
    config: TrialConfig
    arm: str = ""  # what a table calls it: trials that differ only in seed, fold or depth share it

    def __post_init__(self) -> None:
        """A name becomes a folder, also one that was read from a file of somebody else's."""
        for name in (self.name, self.control):
            require_folder_name("trial name", name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for trial.json and for Tune."""
        head = {"name": self.name, "role": self.role, "control": self.control, "arm": self.arm}
        return head | {"config": to_dict(self.config)}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "TrialPlan":
        """The inverse of `to_dict`."""
        return cls(**{**tree, "config": from_dict(tree["config"])})


def data_key(config: TrialConfig) -> str:
    """Which token blocks a trial reads: equal keys, equal blocks."""
    tree = to_dict(config)
    return fingerprint([tree["corpus"], tree["tokens"]])


def table_key(config: TrialConfig) -> str:
    """Which bigram table a trial learns from."""
    return fingerprint([data_key(config), *config.teacher.table_settings])
