"""SIGTERM and SIGHUP, as schedulers and closing terminals send them: taken like Ctrl-C, but for the exit status.

Ray would print a stack of C++ addresses at SIGTERM and let the process die. Light, for a command line sets it up first.
"""

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_WHILE_RAY_STARTS = signal.SIGTERM  # Ray's core takes this one alone, whenever it starts or joins a cluster
_came: list[int] = []  # the signals of this kind that have come
_farewell: list[str] = []  # what to say when one comes


@contextmanager
def taken_like_ctrl_c() -> Iterator[None]:
    """Take both like Ctrl-C in the block, but for one that was ignored before (nohup); for a main thread alone."""
    here = threading.current_thread() is threading.main_thread()
    taken = [one for one in (signal.SIGTERM, signal.SIGHUP) if here and signal.getsignal(one) != signal.SIG_IGN]
    before = {number: signal.signal(number, _as_ctrl_c) for number in taken}
    _came.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_status() -> int:
    """Exit status of an interrupted command, as in shells: 143 after SIGTERM, 129 after SIGHUP, 130 after Ctrl-C."""
    return 128 + (_came[0] if _came else signal.SIGINT)


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


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    if len(_came) == 1:
        with suppress(OSError):
            os.write(1, "".join(f"\n{signal.Signals(number).name}: {text}\n" for text in _farewell).encode())
    signal.raise_signal(signal.SIGINT)
