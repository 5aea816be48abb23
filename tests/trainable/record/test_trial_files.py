"""End of a trial: a status keeps the step of divergence, and a loss in the ledger that is not finite corrects it."""

import math
from pathlib import Path

import pytest

from trainable import names
from trainable.record.ledger import append_row
from trainable.record.trial_files import Status, diverged_at, read_status, read_trial, write_status


def report(folder: Path, step: int, **changes: float) -> None:
    losses = {names.EVAL_LOSS: 5.0, names.GAIN: 0.1, names.TRAIN_LOSS: 5.1 if step else math.nan}
    append_row(folder / names.LEDGER_FILE, {names.STEP: step, **losses, **changes})


@pytest.mark.parametrize("name", [names.EVAL_LOSS, names.GAIN, names.TRAIN_LOSS])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_finished_trial_with_a_loss_that_is_not_finite_has_failed(tmp_path: Path, name: str, value: float) -> None:
    for step in (0, 20, 40):
        report(tmp_path, step, **({name: value} if step == 20 else {}))
    write_status(tmp_path, names.FINISHED)
    status, reports = read_trial(tmp_path)
    assert status == Status(names.FAILED, "diverged: a loss is not finite at step 20", 40, diverged_at=20)
    assert [row[names.STEP] for row in reports] == [0, 20, 40]


def test_a_missing_training_loss_at_step_0_is_no_divergence(tmp_path: Path) -> None:
    report(tmp_path, 0)
    report(tmp_path, 20)
    write_status(tmp_path, names.FINISHED)
    status, reports = read_trial(tmp_path)
    assert status.state == names.FINISHED and diverged_at(reports) is None


def test_a_trial_that_diverged_between_two_reports_keeps_that_step_when_it_is_closed_again(tmp_path: Path) -> None:
    report(tmp_path, 20)
    write_status(tmp_path, names.FAILED, "training loss is nan at step 33", diverged_at=33)
    write_status(tmp_path, names.FAILED, "training loss is nan at step 33")
    assert read_status(tmp_path).diverged_at == 33
    write_status(tmp_path, names.RUNNING)  # the trial is tried again
    write_status(tmp_path, names.FAILED, "its worker was killed")
    assert read_status(tmp_path).diverged_at is None
