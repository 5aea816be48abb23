"""Claims about trainable/student/allocator.py, in processes of their own: its settings last as long as a process."""

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


def test_a_step_finds_the_memory_of_the_last_one() -> None:
    """32 MiB have 8,192 pages of 4 KiB; without the settings ten steps fetch some of them from the system again."""
    assert printed(FAULTS) > 8192
    assert printed(FAULTS, "keep_freed_memory") < 100


def test_what_is_kept_can_be_returned() -> None:
    assert printed(HELD) > 30 * 1024  # KiB
