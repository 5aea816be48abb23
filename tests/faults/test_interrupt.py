"""Ctrl-C ends a sweep with a line that says how to resume; a second Ctrl-C ends it at once; no result is lost."""

import os
import signal
from pathlib import Path

from live_sweep import SMALL_STUDY, LiveSweep, last_step, ledgers, same_losses, states, wait_until_gone

from analysis.results import load
from trainable import names

ONE_CPU = ("--cpus", "1")


def press_ctrl_c(sweep: LiveSweep) -> None:
    """Send SIGINT to the whole group of processes, Ray's included, as a terminal does."""
    os.killpg(sweep.driver.pid, signal.SIGINT)


def resume_line(run: Path) -> str:
    return f"Go on with: python {SMALL_STUDY} --resume {run} --cpus 1 --no-dashboard"


def test_ctrl_c_then_twice_ctrl_c_then_a_run_to_the_end_has_the_rows_of_an_undisturbed_one(
    undisturbed: Path, tmp_path: Path
) -> None:
    with LiveSweep(SMALL_STUDY, tmp_path, "--seeds", "0", "--arms", "1", *ONE_CPU) as sweep:
        control = sweep.wait_for_trial(names.CONTROL, after_step=40)
        started = sweep.processes()
        press_ctrl_c(sweep)
        assert sweep.end() == 130, sweep.printed
    run = sweep.run
    assert f"Interrupted; nothing is lost. {resume_line(run)}" in sweep.printed
    assert sweep.printed.count("--resume") == 1
    wait_until_gone(started)
    assert states(run)[control] == names.RUNNING and last_step(run, control) >= 40
    assert (run / names.SUMMARY_FILE).exists(), "there is no summary of the results so far"

    with LiveSweep(SMALL_STUDY, tmp_path, "--resume", str(run), *ONE_CPU) as sweep:
        sweep.wait_for_trial(names.ARM, after_step=20)
        started = sweep.processes()
        before = ledgers(run, names.FINISHED)
        press_ctrl_c(sweep)
        sweep.wait_for(lambda: "Ctrl-C again ends at once" in sweep.printed, "the first Ctrl-C was taken")
        press_ctrl_c(sweep)
        assert sweep.end() == 130, sweep.printed
    assert f"Ended at once; nothing is lost. {resume_line(run)}" in sweep.printed
    assert "Interrupted; nothing is lost" not in sweep.printed, "the second Ctrl-C waited for the tables"
    wait_until_gone(started)
    load(run)  # every ledger can be read

    with LiveSweep(SMALL_STUDY, tmp_path, "--resume", str(run), *ONE_CPU) as sweep:
        assert sweep.end() == 0, sweep.printed
    assert {name: ledgers(run)[name] for name in before} == before, "a finished trial was run again"
    same_losses(run, undisturbed, trials=2)


def test_ctrl_c_while_ray_starts_leaves_no_process_and_no_empty_run(tmp_path: Path) -> None:
    with LiveSweep(SMALL_STUDY, tmp_path) as sweep:
        sweep.wait_for(lambda: len(sweep.processes()) > 2, "Ray began to start")
        started = sweep.processes()
        press_ctrl_c(sweep)
        assert sweep.end() == 130, sweep.printed
    assert sweep.printed.rstrip().endswith("the same command goes on with what is prepared.")
    assert "Traceback" not in sweep.printed
    wait_until_gone(started)
    assert not list(sweep.results.glob("*/*"))
