"""Errors that end a run or a trial: each message is one sentence that says what is wrong, where, and what to do."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

LARGEST_SEED = 2**32 - 1  # largest seed that both numpy's and PyTorch's generators take


class InputError(ValueError):
    """Bad input, option or file. Command lines print the message alone, without a traceback, and exit with 2."""


class TrainingDiverged(RuntimeError):
    """The loss is no longer finite, from optimizer step `step` on."""

    def __init__(self, message: str, step: int):
        super().__init__(message, step)
        self.message, self.step = message, step

    def __str__(self) -> str:
        return self.message


def require(condition: bool, message: str) -> None:
    """Raise InputError(message) unless `condition` holds."""
    if not condition:
        raise InputError(message)


def require_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise InputError unless `value` is one of the choices."""
    known = list(choices)
    require(value in known, f"{name} is {value!r}: choose one of {', '.join(known)}.")


def require_seed(name: str, seed: int) -> None:
    """Raise InputError unless every random generator takes the seed."""
    require(0 <= seed <= LARGEST_SEED, f"{name} is {seed}: give a seed from 0 to {LARGEST_SEED}.")


def first_line(error: BaseException) -> str:
    """First line of an error's message, without the full stop, for use inside a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


class DamagedFile(InputError):
    """A file whose content is not what was written: its path, the reason, and what the user can do."""

    def __init__(self, path: Path | str, reason: str, remedy: str):
        super().__init__(f"{path} is damaged ({reason}): {remedy}.")
        self.path, self.reason, self.remedy = path, reason, remedy
