"""Memory of one trial, in a process that may have run other trials before: its peak, and its return to a GPU.

The high-water mark of a process never falls by itself: in a reused worker the second trial would show the peak of the
first. So the mark is reset when a trial begins, through /proc/self/clear_refs on Linux and through PyTorch on CUDA.
Before that, memory that an earlier trial has freed but the allocator has kept (1 GiB after six layers) is returned to
the system. If the mark cannot be reset, the peak is reported only if the mark rises while the trial runs.
"""

import gc
import math
import re
import resource
import sys
from pathlib import Path

import torch

from trainable.student.allocator import return_freed_memory

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5): set VmHWM to what is resident now
_KIB = re.compile(r"^(VmHWM|VmRSS):\s+(\d+) kB$", re.MULTILINE)
_SLACK_KIB = 1024  # memory that may become resident between the reset and its check


class PeakMemory:
    """Largest memory since this object was made, in MiB: allocated on the GPU, or resident in this process."""

    def __init__(self, device: torch.device):
        self._device = device
        self._cleared = False
        self._before = 0.0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            self._cleared = _clear()
            self._before = _high_water_mib()

    def mib(self) -> float:
        """Peak so far; NaN if the known peak may be that of an earlier trial in this process."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        if self._cleared:
            return _resident_kib()["VmHWM"] / 1024
        peak = _high_water_mib()
        return peak if peak > self._before else math.nan


def free_gpu_memory() -> None:
    """Give back what an ended trial has left in GPU memory, for a trial of another process on the same GPU."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()  # a compiled layer and its module refer to each other
        torch.cuda.empty_cache()


def _clear() -> bool:
    """Reset the high-water mark of the process, and return whether that worked."""
    try:
        return_freed_memory()
        _CLEAR.write_text(_RESET_PEAK)
        found = _resident_kib()
        return found["VmHWM"] <= found["VmRSS"] + _SLACK_KIB
    except (OSError, KeyError):  # not Linux, or a container without these files
        return False


def _resident_kib() -> dict[str, int]:
    return {name: int(kib) for name, kib in _KIB.findall(_STATUS.read_text())}


def _high_water_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
