"""The precision that pays on this machine: bfloat16 where its products are faster than float32's.

A CPU with AVX512_BF16 or AMX multiplies bfloat16 two to three times as fast as float32; one without them, far slower.
"""

import re
from pathlib import Path
from typing import Literal

import torch

CPU_FLAGS = Path("/proc/cpuinfo")


def best_precision() -> Literal["bfloat16", "float32"]:
    """bfloat16 where the GPU, or else the CPU, multiplies it in hardware; float32 where it does not or is not known."""
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    try:
        flags = re.findall(r"\bavx512_bf16\b|\bamx_bf16\b", CPU_FLAGS.read_text())
    except OSError:  # no Linux
        flags = []
    return "bfloat16" if flags else "float32"
