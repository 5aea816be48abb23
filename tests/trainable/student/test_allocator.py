"""Claims about trainable/student/allocator.py, in new processes, because its settings last as long as a process."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")

FAULTS = """
import resource, sys
import numpy as np
from trainable.student import allocator

def step():
    blocks = [np.ones(1 << 19) for _ in range(8)]  # 8 times 4 MiB, written, then freed

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for name in sys.argv[1:]:
    getattr(allocator, name)()
step()
before = faults()
for _ in range(10):
    step()
print(faults() - before)
"""

HELD = """
import numpy as np
from trainable.student.allocator import keep_freed_memory, return_freed_memory

def resident_kib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))

keep_freed_memory()
blocks = [np.ones(1 << 19) for _ in range(8)]
del blocks
kept = resident_kib()
return_freed_memory()
print(kept - resident_kib())
"""


def printed(code: str, *arguments: str) -> int:
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return int(ran.stdout)


def test_a_step_reuses_the_memory_that_the_last_step_freed() -> None:
    """Ten steps of 32 MiB cause over 8,192 page faults (pages of 4 KiB) by default, and under 100 with the settings."""
    assert printed(FAULTS) > 8192
    assert printed(FAULTS, "keep_freed_memory") < 100


def test_freed_memory_that_was_kept_can_be_returned_to_the_system() -> None:
    assert printed(HELD) > 30 * 1024  # KiB
