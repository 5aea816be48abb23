"""Freed memory that glibc's allocator keeps in the process, for the next step or not. No-ops with another C library.

An optimizer step on a CPU allocates and frees the same tens of MiB each time. As glibc comes, much of that goes back to
the system at each step and is fetched again: 1,000 to 9,000 page faults a step, each of which clears a page.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Final

# Bytes; a larger block is mapped by itself and unmapped when freed. With 32 MiB the activations of a model of width
# 1,024 (4,096 positions: 16 MiB each) leave holes in the heap, which cost 200 MiB; 12 MiB take the same time a step.
MMAP_THRESHOLD: Final = 12 << 20
TRIM_THRESHOLD: Final = 256 << 20  # free bytes at the end of the heap that stay in the process
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed_memory() -> None:
    """Keep up to 256 MiB of freed memory in this process, so that an optimizer step finds what the last one used."""
    if (mallopt := _from_libc("mallopt")) is not None:
        mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD)


def return_freed_memory() -> None:
    """Return freed memory to the system now."""
    if (trim := _from_libc("malloc_trim")) is not None:
        trim(0)


def _from_libc(name: str) -> Callable[..., Any] | None:
    """A function of the C library of this process; None where it has no such function."""
    return getattr(ctypes.CDLL(None), name, None)
