"""Two curves that cross, and a run with any guided curves."""

from collections.abc import Mapping
from pathlib import Path

from synthetic_run import add_trial

from analysis.tables.replay import Curve, Group
from trainable import names

STEPS = (30, 60, 90, 120)
EARLY = Curve("early", STEPS, (5.0, 4.8, 4.7, 4.6))  # ahead until step 60, and never after it
LATE = Curve("late", STEPS, (6.0, 5.0, 4.5, 4.1))
PAIR = Group(1, (EARLY, LATE))


def add_depth(run: Path, arms: Mapping[int, dict[int, float]], **options: str) -> None:
    """Add a control and its guided trials, which are given by scheduling steps."""
    control = {20: 6.0, 40: 5.0}
    add_trial(run, names.CONTROL, control)
    for steps, losses in arms.items():
        schedule = {"teacher__schedule": "linear", "teacher__steps": steps}
        add_trial(run, names.SEARCH, losses, control=control, **schedule, **options)
