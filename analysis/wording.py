"""Forms of values and settings in tables, legends and sentences."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from analysis.columns import BETA2, LEARNING_RATE, MIN_WEIGHT, SCHEDULE, TEACHER_STEPS, WARMUP_STEPS

DASH: Final = "-"  # shown in a table for a missing value


def signed(value: Any) -> str:
    """ "+0.1234", or a dash."""
    return number(value, "+.4f")


def number(value: Any, form: str) -> str:
    """A number in a format, or a dash where it is missing or not finite."""
    return format(value, form) if value is not None and np.isfinite(value) else DASH


def out_of(found: int, planned: int) -> str:
    """ "5", or "4 of 5" where fewer were found than planned."""
    return str(found) if found >= planned else f"{found} of {planned}"


def clip(text: str, length: int = 160) -> str:
    """One line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def saved(steps: float, seconds: float) -> str:
    """Words for steps and seconds saved (means over units); NaN: a unit never reached the control's final loss."""
    if not np.isfinite(steps):
        return "not every unit reached the control's final loss"
    kind = "saved" if seconds >= 0 else "lost"
    return f"{steps:.0f} steps saved to the control's final loss, {abs(seconds):,.1f} training seconds {kind}"


def describe(row: Any) -> str:
    """The schedule of a row with dotted columns: "linear, T = 40, min weight 0.05"."""
    return f"{row[SCHEDULE]}, T = {row[TEACHER_STEPS]}, min weight {row[MIN_WEIGHT]:g}"


def plural(layers: int) -> str:
    """ "1 layer", "2 layers"."""
    return f"{layers} layer" if layers == 1 else f"{layers} layers"


SHORT: Final = {
    TEACHER_STEPS: "T",
    MIN_WEIGHT: "min weight",
    LEARNING_RATE: "lr",
    WARMUP_STEPS: "warm-up",
    BETA2: "beta2",
}


def setting_words(row: Any, keys: Iterable[str]) -> str:
    """Settings of a row with dotted columns, in the order of the keys: "linear, T 40, min weight 0, lr 0.003"."""
    return ", ".join(
        str(row[key]) if key == SCHEDULE else f"{SHORT.get(key, key)} {_short(row[key])}" for key in keys if key in row
    )


def _short(value: Any) -> str:
    return str(value) if value is None or isinstance(value, str) else f"{value:g}"
