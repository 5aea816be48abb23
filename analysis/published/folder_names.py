"""The settings of a published run, from the name of its folder.

{day}_{month}_{time}_{scheduling steps}_{minimum weight}_{layers}_{type}[_{fold}]       guided: type l, e or r
{day}_{month}_{time}_no_bigram_{layers}[_l][_{fold}][_{validation rows}m]      control
"""

import re
from dataclasses import dataclass
from typing import Final

TYPES: Final = {"l": "linear", "e": "exponential", "r": "reciprocal"}
UNKNOWN: Final = "unknown"
PUBLISHED_EVAL_ROWS: Final = 200_000  # where the name gives no other size
NAME: Final = re.compile(
    r"\d+_\d+_\d+-\d+-\d+_"
    r"(?:no_bigram_(?P<control_layers>\d+)(?:_[a-z])?"
    r"|(?P<steps>\d+)_(?P<min_weight>\d+(?:\.\d+)?)_(?P<layers>\d+)_(?P<type>[a-z]))"
    r"(?:_(?P<fold>\d+))?(?:_(?P<million_rows>\d+(?:\.\d+)?)m)?"
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Settings of a run from the name of its folder; None for a setting that is not in the name."""

    # A schedule of trainable.teacher.schedules; UNKNOWN for another letter; None for a name of another form.
    schedule: str | None = None
    steps: int | None = None
    min_weight: float | None = None
    layers: int | None = None
    fold: int | None = None
    eval_rows: int | None = None

    @property
    def arm(self) -> str:
        """Name of the arm: "none", "linear 240", "linear 240 min weight 0.1"."""
        if self.schedule is None or self.schedule == "none":
            return self.schedule or UNKNOWN
        held = f" min weight {self.min_weight:g}" if self.min_weight else ""
        return f"{self.schedule} {self.steps}{held}"


def parse_name(name: str) -> tuple[Setting, str]:
    """The settings in a folder's name, and the problem of the name ("" if there is none)."""
    found = NAME.fullmatch(name)
    if found is None:
        return Setting(), "the name of the folder is not one of the study's: its settings are unknown"
    fold = None if found["fold"] is None else int(found["fold"])
    rows = round(float(found["million_rows"]) * 1e6) if found["million_rows"] else PUBLISHED_EVAL_ROWS
    if found["control_layers"]:
        layers = int(found["control_layers"])
        return Setting(schedule="none", steps=0, min_weight=0.0, layers=layers, fold=fold, eval_rows=rows), ""
    setting = Setting(
        schedule=TYPES.get(found["type"], UNKNOWN),
        steps=int(found["steps"]),
        min_weight=float(found["min_weight"]),
        layers=int(found["layers"]),
        fold=fold,
        eval_rows=rows,
    )
    problem = f"type {found['type']!r} in the name is no schedule of the study" if setting.schedule == UNKNOWN else ""
    return setting, problem
