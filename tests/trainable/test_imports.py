"""Imports of large libraries: without the garbage collector, and only in processes that need them."""

import gc
import subprocess
import sys

import pytest
from paths import child_environment

from trainable.imports import garbage_collector_off


@pytest.mark.parametrize("was_on", [True, False])
def test_the_collector_is_off_inside_and_as_it_was_afterwards(was_on: bool) -> None:
    (gc.enable if was_on else gc.disable)()
    try:
        with garbage_collector_off():
            assert not gc.isenabled()
        assert gc.isenabled() == was_on
    finally:
        gc.enable()


DRIVER = """
import sys
import trainable.trial, trainable.data_parallel
import sweeps.engine.run, sweeps.schedule_search as study
spec = study.schedule_search(study.SearchOptions(smoke_test=True))
prepared = sweeps.engine.run.prepare_runs(spec.configs())
sweeps.engine.run.check_models(spec, prepared)
assert sweeps.engine.room.checkpoint_bytes(spec, prepared.vocab_size) > 10**6
print("transformers" in sys.modules)
import trainable.student.train
print("transformers" in sys.modules)
"""


def test_only_a_process_that_trains_imports_transformers() -> None:
    """Not the process that hands a trial to workers, nor the driver of a sweep of presets."""
    done = subprocess.run([sys.executable, "-c", DRIVER], capture_output=True, text=True, env=child_environment())
    assert done.stdout == "False\nTrue\n", done.stderr
