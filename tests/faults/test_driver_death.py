"""Sweeps whose driver is killed (SIGKILL), and whose Tune files may be spoilt too, are resumed without loss."""

import re
import shutil
import signal
from pathlib import Path

import pandas as pd
from live_sweep import (
    SEARCH,
    SMALL_STUDY,
    LiveSweep,
    agents,
    finish,
    last_step,
    ledgers,
    same_losses,
    states,
    wait_until_gone,
)

from analysis.results import load
from trainable import names

ROWS = ("--train-rows", "400", "--eval-rows", "50")
SETTINGS = ("loop.eval_every=8", "loop.checkpoint_every=8", "loop.precision=float32")
SEARCH_WORDS = ("--smoke-test", *ROWS, "--steps", "48", "--set", *SETTINGS)


def truncate(tune: Path) -> None:
    """Cut each of Tune's files to half its size."""
    for file in files_of(tune):
        with open(file, "r+b") as stream:
            stream.truncate(file.stat().st_size // 2)


def empty(tune: Path) -> None:
    """Empty each of Tune's files."""
    for file in files_of(tune):
        file.write_bytes(b"")


def delete(tune: Path) -> None:
    """Delete Tune's folder."""
    assert files_of(tune)
    shutil.rmtree(tune)


def files_of(tune: Path) -> list[Path]:
    files = [path for path in tune.rglob("*") if path.is_file()]
    assert files, "Tune has written nothing that could be spoilt"
    return files


def kill(sweep: LiveSweep) -> set[int]:
    """Kill the driver alone; wait until its workers and servers have ended; return Ray's agents, which end later."""
    processes = sweep.processes()
    slow = agents(processes)
    sweep.kill(signal.SIGKILL)
    sweep.driver.wait()
    wait_until_gone(processes - slow)
    return slow


CONTROLS = {"none-L1-s0", "none-L1-s1"}  # the controls of tests/support/small_study.py


def finished(run: Path) -> dict[str, bytes]:
    return ledgers(run, names.FINISHED)


def test_comparison_killed_twice_has_the_rows_of_an_undisturbed_one(undisturbed: Path, tmp_path: Path) -> None:
    with LiveSweep(SMALL_STUDY, tmp_path) as sweep:
        control = sweep.wait_for_trial(names.CONTROL, after_step=40)
        orphans = kill(sweep)
    run = sweep.run
    truncate(run / "tune")
    reached = last_step(run, control)

    with LiveSweep(SMALL_STUDY, tmp_path, "--resume", str(run)) as sweep:
        sweep.wait_for_trial(names.ARM, after_step=20)
        sweep.wait_for(lambda: finished(run).keys() >= CONTROLS, "both controls had finished")
        kill(sweep)
    controls = {name: finished(run)[name] for name in CONTROLS}
    assert 40 <= reached < 120
    steps = [line.split(b'"step": ')[1].split(b",")[0] for line in controls[control].splitlines()]
    assert steps.count(b"0") == 1, "the control began anew instead of going on from its checkpoint"
    empty(run / "tune")

    with LiveSweep(SMALL_STUDY, tmp_path, "--resume", str(run)) as sweep:
        assert sweep.end() == 0, sweep.printed
    assert {name: ledgers(run)[name] for name in controls} == controls, "a control was run again"
    same_losses(run, undisturbed)
    assert set(states(run).values()) == {names.FINISHED}
    wait_until_gone(orphans)


GRID = (  # proposals do not depend on which trial ended first; 2 + 2 + 2 settings, one confirmation a group
    *("--search", "grid", "--no-asha", "--rates", "3e-3", "--warmup-steps", "2", "4", "--schedules", "linear"),
    *("--schedule-steps", "12", "24", "12", "--min-weight", "0", "0", "1"),
)
ONE_CPU = ("--cpus", "1")  # one process for trials, which takes seconds to start
TIMES = "seconds|timestamp|per_second|memory"  # columns that differ from run to run


def test_a_run_of_groups_killed_in_its_search_and_in_its_confirmations_has_the_tables_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    words = (*SEARCH_WORDS, *GRID, *ONE_CPU)
    undisturbed = finish(SEARCH, tmp_path, *words)
    assert undisturbed.driver.returncode == 0, undisturbed.printed
    whole = undisturbed.run
    words += ("--run", "mine")
    with LiveSweep(SEARCH, tmp_path, *words) as sweep:
        sweep.wait_for_trial(names.SEARCH, after_step=16)
        kill(sweep)
    run = sweep.run
    assert run.name == "mine"
    with LiveSweep(SEARCH, tmp_path, "--resume", str(run), *ONE_CPU) as sweep:
        sweep.wait_for_trial(names.CONFIRM, after_step=24)
        kill(sweep)
    first, known = finished(run), states(run)
    assert [name for name in first if name.startswith("control-")]
    delete(run / "tune")

    with LiveSweep(SEARCH, tmp_path, *words) as sweep:  # the same command, as a scheduler gives it
        assert sweep.end() == 0, sweep.printed
    last = ledgers(run)
    assert {name: last[name] for name in first} == first, "a finished trial was run again"
    assert known.keys() <= states(run).keys(), "a trial was forgotten"
    same_losses(run, whole)
    for ours, theirs, key in zip(load(run), load(whole), (["trial"], ["trial", names.STEP]), strict=True):
        timeless = [column for column in ours.columns if not re.search(TIMES, column)]
        assert {"trial", names.EVAL_LOSS, names.GAIN} <= set(timeless)
        tables = [table[timeless].sort_values(key, ignore_index=True) for table in (ours, theirs)]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert len(load(run).trials) == 2 + 2 + 2 + 3
