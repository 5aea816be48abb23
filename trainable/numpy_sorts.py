"""Let numpy sort with AVX2 on an AMD Zen 4 (EPYC 9004, Ryzen 7000), where its sort with AVX-512 is 5 to 7 times slower.

Sorting is what counting bigrams and n-grams costs. The AVX-512 form writes with an instruction (vpcompress to memory)
that Zen 4 runs in microcode; Zen 5 and Intel do not (numpy/x86-simd-sort, issue 6). numpy chooses a form when it is
imported, so a command calls this before. Workers of a Ray that the command starts get the same environment, those of a
cluster that it joins do not.
"""

import os
import re
import sys
from pathlib import Path
from typing import Final

CPU_FACTS: Final = Path("/proc/cpuinfo")
ZEN_3_OR_4: Final = 25  # family of AMD's CPUs; of these only Zen 4 has AVX-512
VARIABLE: Final = "NPY_DISABLE_CPU_FEATURES"  # numpy's own: the instructions that it must not use
AVX512: Final = "X86_V4 AVX512_ICL"  # numpy's names of the instructions of Zen 4, from numpy 2.4 on


def avoid_slow_sorts() -> None:
    """Keep numpy from AVX-512 on a Zen 4, unless numpy is imported already or the user has set the variable."""
    if "numpy" not in sys.modules and is_zen_4():
        os.environ.setdefault(VARIABLE, AVX512)


def is_zen_4() -> bool:
    """Whether the CPU is an AMD Zen 4."""
    try:
        facts = CPU_FACTS.read_text()
    except OSError:  # not Linux
        return False
    family = re.search(r"cpu family\s*: (\d+)", facts)
    is_3_or_4 = "AuthenticAMD" in facts and family is not None and int(family[1]) == ZEN_3_OR_4
    return is_3_or_4 and re.search(r"\bavx512f\b", facts) is not None
