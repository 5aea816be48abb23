"""Workers die in a real sweep: by SIGKILL, by the kernel for lack of memory, or by a refused allocation.

One sweep has a trial that dies and goes on, an arm too large for any machine, and a control that fails for good.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from live_sweep import SMALL_STUDY, LiveSweep, last_step, ledgers, losses

from analysis.results import load
from sweeps.engine.run import RESTARTS
from trainable import names
from trainable.record.files import write_json

CGROUP = Path(f"/sys/fs/cgroup/memory/no-memory-{os.getpid()}")  # cgroups of version 1


@dataclass(frozen=True)
class Outcome:
    """Result of the disturbed sweep."""

    run: Path
    status: int
    printed: str
    lost: str  # the control whose worker died once too often
    survivor: str  # the other control, whose worker was killed once
    by_kernel: bool  # whether the kernel killed for lack of memory; else SIGKILL was sent in its place


def wide_model(folder: Path) -> Path:
    """A model of few weights, with a layer so wide that a large batch's hidden states fit no machine."""
    model = folder / "wide"
    settings = {"hidden_size": 16, "intermediate_size": 2**17, "num_attention_heads": 2, "num_key_value_heads": 2}
    sizes = {"num_hidden_layers": 1, "vocab_size": 512, "max_position_embeddings": 32}
    write_json(model / "config.json", {"model_type": "llama", **sizes, **settings})
    return model


def run_out_of_memory(sweep: LiveSweep, trial: str) -> bool:
    """Let the worker of a trial die for lack of memory; return whether the kernel itself killed it.

    The worker is moved to a control group that may have no more memory, so the kernel kills it at its next page. Where
    no such group can be made, SIGKILL is sent.
    """
    try:
        CGROUP.mkdir(exist_ok=True)
        (CGROUP / "memory.limit_in_bytes").write_text("4096")
    except OSError:
        sweep.kill_worker(trial)
        return False
    pid = sweep.kill_worker(trial, 0)
    (CGROUP / "cgroup.procs").write_text(str(pid))
    sweep.wait_for(lambda: sweep.worker(trial) != pid, f"the kernel killed {trial}")
    return True


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("deaths")
    words = ("--arms", "1", "--greedy", str(wide_model(folder)))
    with LiveSweep(SMALL_STUDY, folder, *words) as sweep:
        lost = sweep.wait_for_trial(names.CONTROL, after_step=40)
        by_kernel = [run_out_of_memory(sweep, lost)]
        (survivor,) = {"none-L1-s0", "none-L1-s1"} - {lost}
        sweep.wait_for(lambda: last_step(sweep.run, survivor) >= 40, f"{survivor} was half-way")
        sweep.kill_worker(survivor)
        by_kernel += [run_out_of_memory(sweep, lost) for _ in range(RESTARTS)]
        status = sweep.end()
        yield Outcome(sweep.run, status, sweep.printed, lost, survivor, all(by_kernel))
    with suppress(OSError):
        CGROUP.rmdir()


def trial(outcome: Outcome, name: str) -> pd.Series:
    return load(outcome.run).trials.set_index("trial").loc[name]


def test_killed_worker_goes_on_from_its_checkpoint_with_the_same_losses(outcome: Outcome, undisturbed: Path) -> None:
    assert trial(outcome, outcome.survivor)["state"] == names.FINISHED
    pd.testing.assert_series_equal(
        losses(outcome.run)[outcome.survivor], losses(undisturbed)[outcome.survivor], check_exact=True
    )
    steps = re.findall(rb'"step": (\d+)', ledgers(outcome.run)[outcome.survivor])
    assert steps.count(b"0") == 1, "the trial began anew"
    assert "goes on from its last checkpoint (restart 1 of 2)" in outcome.printed


def test_refused_allocation_fails_the_trial_and_says_how_much_was_asked(outcome: Outcome) -> None:
    greedy = trial(outcome, outcome.survivor.replace("none", "greedy"))
    assert greedy["state"] == names.FAILED
    assert re.search(r"^RuntimeError: .*you tried to allocate \d{13} bytes.*, after 2 restarts$", greedy["reason"])


def test_worker_killed_once_too_often_fails_its_trial_with_the_cause(outcome: Outcome) -> None:
    lost = trial(outcome, outcome.lost)
    cause = "because memory ran out" if outcome.by_kernel else "was killed"
    assert lost["state"] == names.FAILED
    assert cause in lost["reason"] and lost["reason"].endswith("after 2 restarts")


def test_guided_trials_of_a_failed_control_are_named_and_do_not_wait(outcome: Outcome) -> None:
    text = (outcome.run / names.SUMMARY_FILE).read_text()
    guided = ", ".join(outcome.lost.replace("none", arm) for arm in ("linear-0", "greedy"))
    assert f"Not run, because their control {outcome.lost} failed: {guided}." in text
    assert "2 failed, 0 not ended." in text


def test_sweep_goes_on_and_its_exit_status_says_that_trials_failed(outcome: Outcome) -> None:
    assert outcome.status == 1
    assert trial(outcome, outcome.survivor.replace("none", "linear-0"))["state"] == names.FINISHED
    assert (outcome.run / names.CURVES_TABLE).exists()
    assert re.search(rf"{outcome.lost} +failed", outcome.printed)
    assert "Traceback" not in outcome.printed
