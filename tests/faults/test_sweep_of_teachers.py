"""A sweep over several kinds of teacher, one of them a class outside of the project, is killed and resumed."""

import os
import signal
from pathlib import Path

from live_sweep import SEARCH, LiveSweep, finish, ledgers, states, wait_until_gone
from paths import child_environment

from analysis.results import load
from trainable import names

OWN = '''
import numpy as np
import torch

from trainable.teacher.host_rows import HostRows
from trainable.teacher.kinds.uniform import UniformTeacher
from trainable.teacher.teacher import StepRows


class Repeat(UniformTeacher):
    """Half a chance that the token comes once more, half for all tokens alike."""

    def rows(self, context, blocks, dtype):
        ids_R, row = np.unique(context, return_inverse=True)
        half_R = np.full(len(ids_R), 0.5, np.float32)
        sparse = HostRows(np.arange(len(ids_R) + 1), ids_R.astype(np.int32), half_R, len(self.base_V), dtype)
        return StepRows(
            sparse=sparse, row=torch.tensor(row.reshape(context.shape)), backoff_R=torch.tensor(half_R).to(dtype)
        )
'''
TEACHERS = ("uniform", "bigram", "trigram", "my_teachers:Repeat")
ONE_CPU = ("--cpus", "1")  # one process for trials, which takes seconds to start
WORDS = ("--smoke-test", "--train-rows", "400", "--eval-rows", "50", "--teachers", *TEACHERS, *ONE_CPU)


def test_a_killed_sweep_over_teachers_is_resumed_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "my_teachers.py").write_text(OWN, encoding="utf-8")
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), child_environment()["PYTHONPATH"]])}
    with LiveSweep(SEARCH, tmp_path, *WORDS, environment=environment) as sweep:
        sweep.wait_for(lambda: list(sweep.results.glob("*/*/trials/trigram-*/metrics.jsonl")), "a trigram taught")
        processes = sweep.processes()
        sweep.kill(signal.SIGKILL)
        sweep.driver.wait()
        wait_until_gone(processes)
    known, first = states(sweep.run), ledgers(sweep.run, names.FINISHED)
    assert names.RUNNING in known.values() and first

    again = finish(SEARCH, tmp_path, "--resume", str(sweep.run), *ONE_CPU, environment=environment)
    assert again.driver.returncode == 0, again.printed
    last = ledgers(sweep.run)
    assert {name: last[name] for name in first} == first, "a finished trial was run again"
    assert known.keys() <= states(sweep.run).keys(), "a trial was forgotten"
    trials = load(sweep.run).trials
    confirmations = trials[trials["corpus.eval_half"] == "reporting"]
    assert set(confirmations["arm"]) == {"control", "uniform", "bigram", "trigram", "Repeat"}
    assert set(confirmations["state"]) == {names.FINISHED}
    assert set(confirmations[confirmations["arm"] == "trigram"]["teacher.order"]) == {3}
    assert set(confirmations[confirmations["arm"] == "Repeat"]["teacher.kind"]) == {"my_teachers:Repeat"}
    assert confirmations.groupby("arm")[names.EVAL_LOSS].mean().nunique() == 5, "two arms have the same loss"
    assert "modified_kneser_ney of order 3" in (sweep.run / names.SUMMARY_FILE).read_text()
