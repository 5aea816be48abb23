"""A signal that ends a command is not lost where a library swallows the KeyboardInterrupt that it raises."""

import signal
import subprocess
import sys
import time

import pytest
from paths import child_environment

from sweeps.engine import termination

ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", ENDS)
def test_a_swallowed_signal_is_raised_again_when_asked_for(number: signal.Signals) -> None:
    with termination.taken_like_ctrl_c():
        termination.raise_if_interrupted()  # nothing has come yet
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            swallowed = True
        assert swallowed and termination.exit_status() == 128 + number
        with pytest.raises(KeyboardInterrupt):
            termination.raise_if_interrupted()


def test_a_signal_in_a_callback_of_an_import_lock_is_raised_a_moment_later() -> None:
    """An error in a weakref's callback is printed and dropped: a Ctrl-C during imports may hit one."""
    names = {"__name__": "importlib._bootstrap", "signal": signal}
    exec("def cb(_): signal.raise_signal(signal.SIGINT)", names)
    with termination.taken_like_ctrl_c():
        names["cb"](None)
        with pytest.raises(KeyboardInterrupt):
            time.sleep(30)


def test_an_error_that_a_library_made_of_an_interruption_counts_as_the_interruption() -> None:
    """Python 3.11 makes a RuntimeError of whatever is raised in a descriptor's __set_name__; PyTorch has some."""

    class Descriptor:
        def __set_name__(self, owner: type, name: str) -> None:
            signal.raise_signal(signal.SIGINT)

    with termination.taken_like_ctrl_c(), pytest.raises(KeyboardInterrupt), termination.interruption_first():
        type("Owner", (), {"descriptor": Descriptor()})


def test_an_error_without_a_signal_stays_what_it_is() -> None:
    with termination.taken_like_ctrl_c(), pytest.raises(RuntimeError), termination.interruption_first():
        raise RuntimeError


def test_a_block_forgets_the_signals_of_the_one_before_and_gives_the_handlers_back() -> None:
    before = [signal.getsignal(number) for number in ENDS]
    with termination.taken_like_ctrl_c(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in ENDS] == before
    with termination.taken_like_ctrl_c():
        termination.raise_if_interrupted()


def test_to_leave_prints_what_was_said_and_waits_for_no_thread() -> None:
    code = """
import atexit, threading, time
from sweeps.engine.termination import leave
threading.Thread(target=time.sleep, args=(600,)).start()
atexit.register(print, "finalization")
print("interrupted")
leave(130)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=child_environment()
    )
    assert (ended.returncode, ended.stdout) == (130, "interrupted\n")
