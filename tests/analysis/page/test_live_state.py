"""State of a live run: the values in its ledgers, of which only new rows are read."""

import fcntl
from pathlib import Path
from typing import Any

import pytest
from comparisons import comparison, plan_all
from synthetic_groups import groups_run
from synthetic_run import realistic_run, write_run

from analysis.page.live_state import LiveRun
from analysis.results import load
from trainable import names
from trainable.record import ledger as ledger_module
from trainable.record.ledger import Row, append_row, read_reports
from trainable.record.run_files import run_files
from trainable.record.trial_files import write_status


def live(run: Path) -> LiveRun:
    """Return the live run after one read of its files."""
    found = LiveRun(run_files(run), "my run")
    assert found.refresh()
    return found


def trial(found: LiveRun, name: str) -> dict[str, Any]:
    """Return the row of a trial in the page's table of trials."""
    (row,) = [row for row in found.state()["trials"] if row["name"] == name]
    return row


@pytest.mark.parametrize("make", [comparison, realistic_run, groups_run])
def test_every_trial_is_shown_with_the_values_in_the_tables_of_the_run(make: Any, tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    tables = load(run).trials.set_index("trial")
    rows = live(run).state()["trials"]
    assert {row["name"] for row in rows} == set(tables.index)
    for row in rows:
        table = tables.loc[row["name"]]
        assert (row["state"], row["step"], row["layers"]) == (table["state"], table[names.STEP], table["model.layers"])
        if row["state"] != names.FAILED:  # the tables give no loss for a failed trial
            assert row["loss"] == table[names.EVAL_LOSS]
            last = read_reports(run / names.TRIALS_FOLDER / row["name"] / names.LEDGER_FILE)[-1]
            assert row["gain"] == (None if table["role"] == names.CONTROL else last[names.GAIN])
            assert (row["teacher_weight"], row["tokens_per_second"]) == (
                last[names.TEACHER_WEIGHT],
                last[names.TOKENS_PER_SECOND],
            )


def test_only_new_rows_are_read_and_an_unchanged_run_is_not_reported_as_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = realistic_run(tmp_path / "run")
    found = live(run)
    (name,) = [row["name"] for row in found.state()["trials"] if row["state"] == names.RUNNING][:1]
    ledger = run / names.TRIALS_FOLDER / name / names.LEDGER_FILE
    parsed: list[int] = []
    real = ledger_module._parse

    def counted(path: Path, number: int, line: bytes) -> Row:
        parsed.append(number)
        return real(path, number, line)

    monkeypatch.setattr(ledger_module, "_parse", counted)
    assert not found.refresh() and parsed == []
    last = read_reports(ledger)[-1]
    parsed.clear()
    append_row(ledger, last | {names.STEP: 80, names.EVAL_LOSS: 4.25})
    assert found.refresh() and parsed == [5]
    assert (trial(found, name)["step"], trial(found, name)["loss"]) == (80, 4.25)
    write_status(ledger.parent, names.STOPPED, "ASHA at rung 80")
    assert found.refresh()
    assert trial(found, name)["state"] == names.STOPPED
    assert not found.refresh()


def test_a_loss_that_is_no_number_fails_its_trial(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    (ledger,) = (run / names.TRIALS_FOLDER).glob(f"linear*/{names.LEDGER_FILE}")
    append_row(ledger, read_reports(ledger)[-1] | {names.STEP: 121, names.EVAL_LOSS: float("nan")})
    row = trial(live(run), ledger.parent.name)
    assert (row["state"], row["reason"]) == (names.FAILED, "diverged: a loss is not finite at step 121")


def test_a_run_is_being_prepared_until_it_has_a_run_file_and_then_starts_without_trials(tmp_path: Path) -> None:
    found = LiveRun(run_files(tmp_path / "run"), "run")
    found.refresh()
    assert found.state() == {"phase": "preparing", "problems": []}
    write_run(tmp_path / "run", ended="absent")
    assert found.refresh()
    assert (found.state()["counts"]["ended"], found.state()["trials"], found.state()["ends"]) == (0, [], None)


def test_a_run_is_over_when_its_driver_has_ended_it_and_waits_when_the_driver_was_killed(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run")
    assert live(run).phase == "over"
    with open(run / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert live(run).phase == "running"
    assert live(run).phase == "over"
    (ledger,) = (run / names.TRIALS_FOLDER).glob(f"linear*s0/{names.LEDGER_FILE}")
    append_row(ledger, read_reports(ledger)[-1] | {names.STEP: 121, names.TIMESTAMP: 4e9})  # after the recorded end
    assert live(run).phase == "waiting"


def test_a_damaged_file_is_told_and_the_other_trials_are_shown(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    (ledger,) = (run / names.TRIALS_FOLDER).glob(f"linear*/{names.LEDGER_FILE}")
    whole = ledger.read_bytes()
    ledger.write_bytes(whole.replace(b"4.8", b"4.7"))
    found = live(run)
    (problem,) = found.state()["problems"]
    assert "metrics.jsonl is damaged (line 3: its checksum does not match)" in problem
    assert trial(found, "none-L1-s0")["loss"] == 5.0
    ledger.write_bytes(whole)
    assert found.refresh() and found.state()["problems"] == []
    assert trial(found, ledger.parent.name)["loss"] == 4.8


def test_stopped_trials_and_restarted_workers_are_read_from_their_journals(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run")
    found = live(run)
    stop = {"trial": "a", "layers": 1, "arm": "bigram", "step": 40, "gain": -0.1, "cutoff": 0.2}
    append_row(run / names.RUNGS_FILE, stop | {"stop": True})
    append_row(run / names.RUNGS_FILE, stop | {"trial": "b", "gain": 0.3, "stop": False})
    restart = {"trial": "b", "reason": "its worker was killed", "restart": 1, names.TIMESTAMP: 5.0}
    append_row(run / names.RESTARTS_FILE, restart)
    assert found.refresh()
    assert (found.state()["stopped"], found.state()["restarts"]) == ([stop], [restart])


def test_running_trials_come_first_in_the_table(tmp_path: Path) -> None:
    states = [row["state"] for row in live(realistic_run(tmp_path / "run")).state()["trials"]]
    assert states[0] == names.RUNNING
    assert states == sorted(states, key=lambda state: state != names.RUNNING)


def test_a_trial_whose_folder_was_removed_is_forgotten(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    plan_all(run)
    found = live(run)
    (gone,) = (run / names.TRIALS_FOLDER).glob("linear*")
    for file in gone.iterdir():
        file.unlink()
    gone.rmdir()
    assert found.refresh()
    assert [row["name"] for row in found.state()["trials"]] == ["none-L1-s0"]
    assert found.state()["counts"] == {"planned": 2, "ended": 1, "running": 0, "left": 1}
