"""Signals that end a command: Ctrl-C (SIGINT); SIGTERM and SIGHUP, as schedulers and closing terminals send them.

All are taken alike, but for the exit status. Ray would print a stack of C++ addresses at SIGTERM and let the process
die. An import may swallow a KeyboardInterrupt: Python drops one that is raised in a callback of its import locks (there
are thousands of them a second), and a library may drop any, or make another error of one. So the first kind is put off,
and that a signal came is noted.
Light, for a command line sets it up first.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

_WHILE_RAY_STARTS = signal.SIGTERM  # Ray's core takes this one alone, whenever it starts or joins a cluster
_IMPORTS, _SOON = "importlib._bootstrap", 0.01  # seconds
_came: list[int] = []  # the signals of this kind that have come
_farewell: list[str] = []  # what to say when one comes


@contextmanager
def taken_like_ctrl_c() -> Iterator[None]:
    """Take all three alike in the block, but for one that was ignored before (nohup); for a main thread alone."""
    handlers = {
        signal.SIGINT: _interrupt,
        signal.SIGTERM: _as_ctrl_c,
        signal.SIGHUP: _as_ctrl_c,
        signal.SIGALRM: _raise,  # what was put off
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
    """Raise the KeyboardInterrupt of a signal that has come, should a library have swallowed it."""
    if _came:
        raise KeyboardInterrupt


@contextmanager
def interruption_first() -> Iterator[None]:
    """Within the block, an error that follows a signal counts as the KeyboardInterrupt that it may have been."""
    try:
        yield
    except Exception:
        raise_if_interrupted()
        raise


def leave(status: int) -> NoReturn:
    """End the process without Python's finalization, which may hang where Ray is half started."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextmanager
def farewell(text: str) -> Iterator[None]:
    """Say this at once when a signal comes in the block: Ray may have got it, too, and the end be long in coming."""
    _farewell.append(text)
    try:
        yield
    finally:
        _farewell.clear()


@contextmanager
def kept_from_ray() -> Iterator[None]:
    """Give the process its own handler of SIGTERM back after the block, in which Ray starts in whatever thread.

    Python's own function for that works in the main thread alone.
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
        signal.setitimer(signal.ITIMER_REAL, _SOON)  # from a weakref's callback no error gets out
        return
    raise KeyboardInterrupt


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    if len(_came) == 1:
        with suppress(OSError):
            os.write(1, "".join(f"\n{signal.Signals(number).name}: {text}\n" for text in _farewell).encode())
    signal.raise_signal(signal.SIGINT)
