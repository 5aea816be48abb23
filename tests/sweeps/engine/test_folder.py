"""The run folder: it is never reused, one driver holds it, and it is read back as it was written."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
from sweep_specs import new_run, small_sweep

from sweeps.engine.folder import RunFolder
from sweeps.engine.specs.pairs import control_plan
from trainable import names
from trainable.config import override
from trainable.errors import InputError
from trainable.record.ledger import append_row

SWEEP = small_sweep()
PLAN = control_plan(SWEEP.base)


def test_create_never_reuses_a_folder(tmp_path: Path) -> None:
    made = [RunFolder.create(tmp_path, "study").path for _ in range(5)]
    assert len(set(made)) == 5 and all(path.is_dir() and path.is_absolute() for path in made)


def test_a_results_folder_that_is_a_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(InputError, match=r"cannot be made .*: give --results DIR"):
        RunFolder.create(tmp_path / "results", "study")


@pytest.mark.parametrize("name", ["absent", "."])
def test_folder_without_run_json_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"is not a run: it has no run\.json"):
        RunFolder.open(tmp_path / name)


def test_second_driver_is_refused_while_the_first_holds_the_run(tmp_path: Path) -> None:
    folder = new_run(tmp_path, SWEEP)
    code = f"from pathlib import Path; from sweeps.engine.folder import RunFolder\n\
with RunFolder.open(Path({str(tmp_path)!r})).locked(): pass"
    with folder.locked():
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert second.returncode == 1 and "is in use by another process: wait for it to end." in second.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_finished_trial_with_a_loss_that_is_no_number_has_failed_and_is_never_the_best(tmp_path: Path) -> None:
    folder = new_run(tmp_path, SWEEP)
    whole, spoilt = (control_plan(override(SWEEP.base, {"seed": seed})) for seed in (1, 2))
    for plan, losses in ((whole, (5.0, 4.0, 3.0)), (spoilt, (5.0, math.nan, 1.0))):
        folder.open_trial(plan)
        for step, loss in enumerate(losses):
            row = {names.STEP: step, names.EVAL_LOSS: loss, names.GAIN: 0.0, names.TIMESTAMP: 0.0}
            append_row(folder.trial(plan.name) / names.LEDGER_FILE, row)
        folder.close_trial(plan, names.FINISHED)
    assert {plan.name: state for plan, state, _ in folder.trials()} == {
        whole.name: names.FINISHED,
        spoilt.name: names.FAILED,
    }
    assert [trial.plan.name for trial in folder.finished()] == [whole.name]


def test_spec_is_read_back(tmp_path: Path) -> None:
    assert new_run(tmp_path, SWEEP).spec().to_dict() == SWEEP.to_dict()


@pytest.mark.parametrize(
    ("state", "keep", "left"),
    [
        (names.STOPPED, False, False),
        (names.STOPPED, True, True),
        (names.FAILED, False, True),
    ],
)
def test_a_stopped_trial_loses_its_checkpoint_unless_checkpoints_are_kept_and_a_failed_trial_keeps_it(
    tmp_path: Path, state: str, keep: bool, left: bool
) -> None:
    folder = new_run(tmp_path, SWEEP)
    plan = control_plan(override(SWEEP.base, {"loop.keep_checkpoint": keep}))
    folder.open_trial(plan)
    checkpoint = folder.trial(plan.name) / names.CHECKPOINT_FILE
    checkpoint.write_bytes(b"weights")
    folder.close_trial(plan, state, "why")
    assert (checkpoint.exists(), folder.status(plan.name)) == (left, (state, "why"))


@pytest.mark.parametrize("keep", [False, True])
def test_only_the_best_finished_trial_keeps_its_checkpoint_unless_checkpoints_are_kept(
    tmp_path: Path, keep: bool
) -> None:
    folder = new_run(tmp_path, SWEEP)
    losses = {0: 5.0, 1: 4.0, 2: 4.5, 3: 3.0}
    for seed, loss in losses.items():
        plan = control_plan(override(SWEEP.base, {"loop.keep_checkpoint": keep, "seed": seed}))
        folder.open_trial(plan)
        (folder.trial(plan.name) / names.CHECKPOINT_FILE).write_bytes(b"weights")
        append_row(folder.trial(plan.name) / names.LEDGER_FILE, {names.STEP: 10, names.EVAL_LOSS: loss})
        folder.close_trial(plan, names.FINISHED)
        left = {file.parent.name for file in folder.path.glob(f"trials/*/{names.CHECKPOINT_FILE}")}
        best = min(range(seed + 1), key=losses.__getitem__)
        assert left == ({f"none-L1-s{n}" for n in range(seed + 1)} if keep else {f"none-L1-s{best}"})
    assert [trial.plan.config.seed for trial in folder.finished()] == [3, 1, 2, 0]


def test_named_run_has_the_same_folder_each_time_and_no_folder_is_made_before_it_begins(tmp_path: Path) -> None:
    first, second = (RunFolder.named(tmp_path / "results", "study", "mine") for _ in range(2))
    assert first.path == second.path and not (tmp_path / "results").exists()
    assert first.path == tmp_path / "results" / "study" / "mine"


def test_a_driver_that_ends_before_its_run_begins_removes_the_folder_unless_another_driver_holds_it(
    tmp_path: Path,
) -> None:
    folder = RunFolder.named(tmp_path, "study", "mine")
    folder.make()
    with folder.locked():
        with pytest.raises(InputError, match="in use"), RunFolder.named(tmp_path, "study", "mine").locked():
            raise AssertionError("two drivers hold one run")
        assert folder.path.is_dir(), "the second driver has removed the first one's folder"
    assert not folder.path.exists()


def test_trials_are_read_with_state_and_the_last_row_of_each_step(tmp_path: Path) -> None:
    folder = new_run(tmp_path, SWEEP)
    folder.open_trial(PLAN)
    assert folder.trials() == [(PLAN, names.RUNNING, [])]
    for step, loss in [(0, 5.0), (10, 4.0), (0, 5.5)]:
        append_row(folder.trial(PLAN.name) / names.LEDGER_FILE, {names.STEP: step, names.EVAL_LOSS: loss})
    folder.close_trial(PLAN, names.FINISHED)
    [(plan, state, reports)] = folder.trials()
    assert (plan, state) == (PLAN, names.FINISHED)
    assert [(r[names.STEP], r[names.EVAL_LOSS]) for r in reports] == [(0, 5.5), (10, 4.0)]


def test_each_attempt_of_tune_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = new_run(tmp_path, SWEEP)
    assert folder.new_attempt() == "attempt-1"
    (folder.path / "tune" / "attempt-9").mkdir(parents=True)
    assert folder.new_attempt() == "attempt-10"
