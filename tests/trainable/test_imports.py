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


def test_a_process_that_hands_a_trial_to_workers_imports_no_transformers() -> None:
    code = "import sys, trainable.trial, trainable.data_parallel; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=child_environment())
    assert done.stdout == "False\n", done.stderr
