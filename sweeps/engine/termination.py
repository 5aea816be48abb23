"""Signals that end a command: Ctrl-C (SIGINT); SIGTERM and SIGHUP, as schedulers and closing terminals send them.

All are handled alike, and differ only in the exit status. Two things need care:

- At SIGTERM Ray would print a stack of C++ addresses and let the process die.
- An import may swallow a KeyboardInterrupt. Python drops one that is raised in a callback of its import locks, of which
  there are thousands a second; so there it is raised a moment later. A library may drop any, or turn it into another
  error; so each signal is recorded.

The module imports little, because a command line sets it up first.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_WHILE_RAY_STARTS = signal.SIGTERM  # the one signal that Ray's core handles itself when it starts or joins a cluster
_IMPORTS, _SOON = "importlib._bootstrap", 0.01  # seconds
_came: list[int] = []  # numbers of the signals that have come
_half_started: list[bool] = []
_farewell: list[str] = []  # text to print when a signal comes


@contextmanager
def taken_like_ctrl_c() -> Iterator[None]:
    """Handle all three alike in the block, except one that was ignored before (nohup); only in the main thread."""
    handlers = {
        signal.SIGINT: _interrupt,
        signal.SIGTERM: _as_ctrl_c,
        signal.SIGHUP: _as_ctrl_c,
        signal.SIGALRM: _raise,  # raises what was put off
    }
    here = threading.current_thread() is threading.main_thread()
    taken = [one for one in handlers if here and signal.getsignal(one) != signal.SIG_IGN]
    before = {number: signal.signal(number, handlers[number]) for number in taken}
    _came.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_status() -> int:
    """Exit status of an interrupted command, as in shells: 143 after SIGTERM, 129 after SIGHUP, 130 after Ctrl-C."""
    return 128 + (_came[0] if _came else signal.SIGINT)


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if a signal has come, in case a library has swallowed the first one."""
    if _came:
        raise KeyboardInterrupt


@contextmanager
def interruption_first() -> Iterator[None]:
    """Block in which an error after a signal is raised as KeyboardInterrupt, from which a library may have made it."""
    try:
        yield
    except Exception:
        raise_if_interrupted()
        raise


def leave(status: int) -> int:
    """Return the exit status; if Ray is half started, end the process at once, without Python's finalization.

    Finalization waits for the thread in which Ray starts, and this thread may wait for servers that are gone.
    """
    if _half_started:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def ray_is_half_started() -> None:
    """Record that Ray's start was given up half-way: from now on `leave` ends the process at once."""
    _half_started.append(True)


@contextmanager
def farewell(text: str) -> Iterator[None]:
    """Print `text` at once when SIGTERM or SIGHUP comes in the block: Ray may get it too, and the end can take long."""
    _farewell.append(text)
    try:
        yield
    finally:
        _farewell.clear()


@contextmanager
def kept_from_ray() -> Iterator[None]:
    """Restore the process's own handler of SIGTERM after the block, in which Ray starts in any thread.

    Python's own function, signal.signal, works only in the main thread.
    """
    get, put = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    get.restype, put.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    handler = get(_WHILE_RAY_STARTS)
    try:
        yield
    finally:
        put(_WHILE_RAY_STARTS, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    _raise(number, frame)


def _raise(number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_globals.get("__name__") == _IMPORTS and frame.f_code.co_name == "cb":
        signal.setitimer(signal.ITIMER_REAL, _SOON)  # Python drops an error that a weakref's callback raises
        return
    raise KeyboardInterrupt


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    if len(_came) == 1:
        with suppress(OSError):
            os.write(1, "".join(f"\n{signal.Signals(number).name}: {text}\n" for text in _farewell).encode())
    signal.raise_signal(signal.SIGINT)
