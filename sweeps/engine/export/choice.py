"""Choose the trial whose model is exported, and check the choice before a sweep spends hours on it.

A run keeps the checkpoint of its best finished trial (sweeps/engine/folder.py), so the best can be exported whenever
the run is complete. Any other trial can be exported only from a run with loop.keep_checkpoint.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from sweeps.engine.folder import FinishedTrial, RunFolder
from sweeps.engine.specs.spec import Spec
from trainable import names
from trainable.config import TrialConfig
from trainable.errors import InputError, require

BEST = "best"


@dataclass(frozen=True)
class Export:
    """An export that is asked for: `best` or the name of a trial, and the absolute path of the folder to write."""

    trial: str
    folder: Path


def check_export(export: Export, spec: Spec, run: RunFolder | None) -> None:
    """Raise InputError if the folder cannot be written, or the run will not have the trial or keep its checkpoint."""
    _check_target(export.folder)
    if run is not None and run.complete:
        chosen_trial(export, run)
        return
    require(
        not any(has_output_bias(config) for config in spec.configs()),
        f"--export: students of study {spec.study} have an output bias, which their architecture has no place for: "
        "leave out model.output_bias, or export a trial without one when the run is complete.",
    )
    if export.trial == BEST:
        return
    require(
        spec.can_have(export.trial),
        f"--export: study {spec.study} has no trial {export.trial!r} with these options: give best, or a trial's name "
        "such as stands in trials/ of a run.",
    )
    require(
        spec.base.loop.keep_checkpoint,
        f"--export {export.trial}: a run keeps the checkpoint of its best trial alone; add --set "
        "loop.keep_checkpoint=true to keep all, or give best.",
    )


def chosen_trial(export: Export, run: RunFolder) -> FinishedTrial:
    """Return the finished trial to export. Raises InputError if there is none, or its checkpoint is gone."""
    finished = run.finished()
    if not finished:
        raise InputError(
            f"--export: run {run.address} has no finished trial, so there is no model to export: resume it."
        )
    wanted = finished[0].plan.name if export.trial == BEST else export.trial
    found = next((trial for trial in finished if trial.plan.name == wanted), None)
    if found is None:
        begun = (run.trial(wanted) / names.TRIAL_FILE).is_file()
        how = f"is {run.status(wanted)[0]}, not finished" if begun else "does not exist"
        raise InputError(
            f"--export: trial {wanted!r} of run {run.address} {how}: give best, or one of "
            f"{', '.join(trial.plan.name for trial in finished[:5])}."
        )
    if not run.checkpoint(wanted).is_file():
        raise InputError(
            f"--export: trial {wanted} of run {run.address} has no checkpoint any more, for a run keeps that of its "
            "best trial alone: give best, or run again with --set loop.keep_checkpoint=true."
        )
    require(
        not has_output_bias(found.plan.config),
        f"--export: trial {wanted} has an output bias (model.output_bias), which its architecture has no place for: "
        "name a trial without one.",
    )
    return found


def has_output_bias(config: TrialConfig) -> bool:
    """Whether a trial's student has an output bias for which its architecture in transformers has no place."""
    if config.model.output_bias == "none":
        return False
    from trainable.student.model import has_own_bias  # imports torch

    return not has_own_bias(config.model)


def _check_target(folder: Path) -> None:
    """Raise InputError unless a new folder can be made there."""
    empty = folder.is_dir() and not any(folder.iterdir())
    require(empty or not folder.exists(), f"--export: {folder} exists and is not an empty folder: give a new one.")
    there = next(parent for parent in folder.parents if parent.exists())
    writable = there.is_dir() and os.access(there, os.W_OK)
    require(writable, f"--export: {folder} cannot be made, for {there} takes no files: give another folder.")
