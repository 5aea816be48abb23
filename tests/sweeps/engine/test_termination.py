"""A signal ends the command even if a library swallows the KeyboardInterrupt that the signal raises."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from paths import child_environment

from sweeps.engine import termination

ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def handled_as_in_a_terminal() -> Iterator[None]:
    """Handle signals as Python does: a shell ignores SIGINT in its background jobs, and nohup SIGHUP."""
    mine = [signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL]
    before = [signal.signal(number, handler) for number, handler in zip(ENDS, mine, strict=True)]
    yield
    for number, handler in zip(ENDS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDS)
def test_a_swallowed_signal_is_raised_again_when_asked_for(number: signal.Signals) -> None:
    with termination.taken_like_ctrl_c():
        termination.raise_if_interrupted()  # raises nothing, because no signal has come
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            swallowed = True
        assert swallowed and termination.exit_status() == 128 + number
        with pytest.raises(KeyboardInterrupt):
            termination.raise_if_interrupted()


def test_a_signal_in_a_callback_of_an_import_lock_is_raised_a_moment_later() -> None:
    """Python prints and drops an error in a weakref's callback, and Ctrl-C during imports may hit such a callback."""
    names = {"__name__": "importlib._bootstrap", "signal": signal}
    exec("def cb(_): signal.raise_signal(signal.SIGINT)", names)
    with termination.taken_like_ctrl_c():
        names["cb"](None)
        with pytest.raises(KeyboardInterrupt):
            time.sleep(30)


def test_an_error_that_a_library_made_of_an_interruption_counts_as_the_interruption() -> None:
    """Python 3.11 turns an error in a descriptor's __set_name__ into a RuntimeError; PyTorch has such descriptors."""

    class Descriptor:
        def __set_name__(self, owner: type, name: str) -> None:
            signal.raise_signal(signal.SIGINT)

    with termination.taken_like_ctrl_c(), pytest.raises(KeyboardInterrupt), termination.interruption_first():
        type("Owner", (), {"descriptor": Descriptor()})


def test_an_error_without_a_signal_is_raised_unchanged() -> None:
    with termination.taken_like_ctrl_c(), pytest.raises(RuntimeError), termination.interruption_first():
        raise RuntimeError


def test_a_block_forgets_the_signals_of_an_earlier_block_and_restores_the_handlers() -> None:
    before = [signal.getsignal(number) for number in ENDS]
    with termination.taken_like_ctrl_c(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in ENDS] == before
    with termination.taken_like_ctrl_c():
        termination.raise_if_interrupted()


@pytest.mark.parametrize("half_started", [False, True])
def test_a_process_in_which_ray_is_half_started_ends_without_finalization(half_started: bool) -> None:
    code = f"""
import atexit, sys
from sweeps.engine import termination
if {half_started}:
    termination.ray_is_half_started()
atexit.register(print, "finalization")
print("interrupted")
sys.exit(termination.leave(130))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=child_environment())
    assert ended.returncode == 130
    assert ended.stdout.splitlines() == ["interrupted"] + ["finalization"] * (not half_started)
