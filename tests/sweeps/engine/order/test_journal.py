"""Optuna loads from the journal the trials of the ledgers, even after the journal was damaged or lost."""

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sweep_specs import SimulatedTune, made_up_loss, new_run, small_arms, small_sweep

from sweeps.engine.folder import RunFolder
from sweeps.engine.specs.space import levels
from trainable import names
from trainable.config import flatten
from trainable.plan import TrialPlan

STOPPED, FAILED = "bigram-linear-T10-min0-lr0.009-L1-s0", "bigram-exponential-T10-min0-lr0.003-L2-s0"
ARMS = small_arms(optimizer__lr=levels([0.003, 0.009]))[::2]
SWEEP: dict[str, Any] = {"search": "grid", "arms": ARMS, "extend_rates": True}
STUDIES = [f"study run depth {layers} {arm}" for layers in (1, 2) for arm in ("control", "bigram")]


def best_at_an_end(plan: TrialPlan, step: int) -> float:
    """The made-up loss, but the bigram teacher does best at its highest rate."""
    return made_up_loss(plan, step) - (plan.arm == "bigram") * 30 * plan.config.optimizer.lr


Told = dict[str, dict[str, tuple[TrialState, Any, Any]]]


@pytest.fixture(autouse=True, scope="module")
def no_fsync() -> Any:
    """Turn fsync off: the tests write many small files, and no test simulates a crash of the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def simulated(folder: Path) -> SimulatedTune:
    """Grid searches at two depths: ASHA stops one trial, one trial diverges, and one more rate is searched."""
    sweep = small_sweep(**SWEEP)
    run = new_run(folder / "study" / "run", sweep)
    return SimulatedTune(
        folder=run, sweep=sweep, loss=best_at_an_end, stopped={STOPPED: 20}, failing=frozenset({FAILED})
    )


def journal(folder: Path) -> Path:
    return folder / "study" / "run" / names.JOURNAL_FILE


def told(folder: Path) -> Told:
    """{study: {trial: (state, value, parameters)}} as Optuna loads it; fails if the journal has a trial twice."""
    storage = JournalStorage(JournalFileBackend(str(journal(folder))))
    found: Told = {}
    for name in (study.study_name for study in storage.get_all_studies()):
        trials = optuna.load_study(study_name=name, storage=storage).trials
        found[name] = {t.user_attrs["trial"]: (t.state, t.value, t.params) for t in trials}
        assert len(found[name]) == len(trials), "the journal has a trial twice"
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished run."""
    folder = tmp_path_factory.mktemp("whole")
    simulated(folder).run()
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, which a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def test_optuna_loads_a_study_for_each_group_with_the_states_and_gains_of_the_ledgers(whole: Path) -> None:
    """The journal also has the trials of one more rate, beyond the searched range, and it has no confirmations."""
    studies, rates = told(whole), set()
    expected = {names.FINISHED: TrialState.COMPLETE, names.STOPPED: TrialState.PRUNED, names.FAILED: TrialState.FAIL}
    for plan, state, reports in RunFolder.open(whole / "study" / "run").trials():
        if plan.config.seed == 0:
            found, value, params = studies[f"study run depth {plan.config.model.layers} {plan.arm}"].pop(plan.name)
            assert found == expected[state]
            assert value == (reports[-1][names.GAIN] if state == names.FINISHED else None)
            settings = flatten(plan.config)
            arm = next(arm for arm in ARMS if arm.name == plan.arm)
            assert params == {key: settings[key] for key in arm.space}
            rates.add((plan.arm, params["optimizer.lr"]))
    assert studies == {name: {} for name in STUDIES}, "the journal has trials that the ledgers lack"
    assert ("bigram", 0.027) in rates and ("control", 0.027) not in rates


def test_the_journal_has_a_stopped_trial_as_pruned_and_a_failed_trial_as_fail(whole: Path) -> None:
    studies = told(whole)
    assert studies["study run depth 1 bigram"][STOPPED][0] == TrialState.PRUNED
    assert studies["study run depth 2 bigram"][FAILED][0] == TrialState.FAIL


def test_the_journal_has_the_maximised_metric_and_the_duration_of_each_trial(whole: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(journal(whole))))
    study = optuna.load_study(study_name="study run depth 1 bigram", storage=storage)
    assert study.metric_names == [names.GAIN]
    ran = {trial.user_attrs["trial"]: trial.duration for trial in study.trials}
    assert ran.pop(STOPPED) == timedelta(seconds=20)
    assert len(ran) == 7 + 4 and set(ran.values()) == {timedelta(seconds=40)}


@pytest.mark.parametrize("events", [3, 60, 130, 150, 170])
def test_the_journal_of_a_resumed_run_has_each_trial_once(tmp_path: Path, whole: Path, events: int) -> None:
    simulated(tmp_path).run(events)
    simulated(tmp_path).run()
    assert told(tmp_path) == told(whole)


def test_the_journal_of_a_running_sweep_has_the_trials_that_have_ended(tmp_path: Path) -> None:
    tune = simulated(tmp_path)
    tune.run(30)
    ended = {p.name for p, state, _ in tune.folder.trials() if p.config.seed == 0 and state != names.RUNNING}
    assert {name for trials in told(tmp_path).values() for name in trials} == ended != set()


def flipped(content: bytes, where: int) -> bytes:
    return content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "head": lambda content: flipped(content, 0),
    "body": lambda content: flipped(content, content.index(b'"op_code"', len(content) // 2)),
    "a digit of a gain": lambda content: flipped(content, content.rindex(b'"intermediate_values":{"0":0.') + 29),
    "a digit of a setting": lambda content: flipped(content, content.rindex(b'"teacher.steps":1') + 17),
    "tail": lambda content: flipped(content, len(content) - 1),
    "truncated": lambda content: content[: len(content) * 2 // 3],
    "half a last line": lambda content: content[:-5],
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_journal_is_named_and_made_again_from_the_ledgers(
    copy: Path, whole: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    journal(copy).write_bytes(DAMAGE[how](journal(copy).read_bytes()))
    simulated(copy).run()
    assert told(copy) == told(whole)
    assert f"{journal(copy)} is damaged" in caplog.text


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_lost_journal_is_made_again_from_the_ledgers(copy: Path, whole: Path, left: str) -> None:
    journal(copy).unlink()
    if left == "an empty file":
        journal(copy).touch()
    simulated(copy).run()
    assert told(copy) == told(whole)


def test_the_lock_of_a_killed_driver_does_not_hold_up_the_next(copy: Path, whole: Path) -> None:
    journal(copy).unlink()
    journal(copy).with_name("optuna.journal.lock").symlink_to(journal(copy))
    simulated(copy).run()
    assert told(copy) == told(whole)


def test_a_note_made_in_the_dashboard_is_kept_on_resumption(copy: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(journal(copy))))
    optuna.load_study(study_name="study run depth 1 bigram", storage=storage).set_user_attr("note", "look here")
    simulated(copy).run()
    assert "look here" in journal(copy).read_text()


def test_a_copied_and_renamed_run_keeps_its_journal_without_a_warning(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = Path(shutil.copytree(whole / "study" / "run", tmp_path / "other study" / "another name"))
    before = (copy / names.JOURNAL_FILE).read_bytes()
    assert SimulatedTune(folder=RunFolder.open(copy), sweep=small_sweep(**SWEEP), loss=best_at_an_end).run().exhausted
    assert (copy / names.JOURNAL_FILE).read_bytes().startswith(before)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
