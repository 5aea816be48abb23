"""What `loop.precision=auto` stands for: bfloat16 where its products are faster than float32's, else float32.

Where a run may use a GPU, the GPU decides; else the CPU's flags do, where PyTorch agrees with them. With AMX bfloat16
is faster; without AMX and AVX512_BF16 it is far slower. Between these a product is timed: with AVX512_BF16 alone an AMD
EPYC is more than twice as fast as in float32, and an Intel Xeon whose AMX is switched off is slower.
"""

import functools
import re
import time
from pathlib import Path
from typing import Final, Literal, NamedTuple

import torch

from trainable.config import Device, LoopConfig, TrialConfig, override

CPU_FLAGS: Final = Path("/proc/cpuinfo")
AMX: Final = "amx_bf16"
IN_HARDWARE: Final = (AMX, "avx512_bf16", "bf16")  # what PyTorch and Linux call it; bf16: on ARM
OUTPUT_LAYER: Final = (256, 128, 4096)  # positions, width, vocabulary: a chunk of the output layer of `tiny`
PAIRS: Final = 5  # of timed products, in turn
WORTH_IT: Final = 0.6  # of float32's time: the casts around products take a part of what they gain


class Best(NamedTuple):
    """A precision, and why it is the best here, as the end of a sentence."""

    precision: Literal["bfloat16", "float32"]
    because: str


def best_precision(device: Device = "auto") -> Best:
    """The faster of bfloat16 and float32 for a run on a device that `loop.device` names."""
    if device != "cpu" and torch.cuda.is_available():
        in_hardware = torch.cuda.is_bf16_supported(including_emulation=False)
        because = f"the GPU {'multiplies' if in_hardware else 'does not multiply'} bfloat16 in hardware"
        return Best("bfloat16" if in_hardware else "float32", because)
    flags, capabilities = _flags(), torch.cpu.get_capabilities()
    claimed = {name for name in IN_HARDWARE if capabilities.get(name)}
    if flags == claimed and AMX in claimed:
        return Best("bfloat16", "the CPU has AMX")
    if flags == claimed and not claimed:
        return Best("float32", "the CPU does not multiply bfloat16 in hardware")
    share = _share_of_time()
    because = f"a product of the output layer takes {share:.2g} times as long in bfloat16 as in float32"
    return Best("bfloat16" if share <= WORTH_IT else "float32", because)


def resolved(config: TrialConfig) -> TrialConfig:
    """The config with the best precision of this machine in the place of auto; any other config as it is."""
    if config.loop.precision != "auto":
        return config
    return override(config, {"loop.precision": _precision(config.loop)})


def autocast_of(loop: LoopConfig, device: torch.device) -> torch.autocast:
    """Autocast to the precision of a loop's products, as a context that may be entered again and again."""
    precision = _precision(loop)
    return torch.autocast(device.type, dtype=getattr(torch, precision), enabled=precision != "float32")


def _precision(loop: LoopConfig) -> str:
    return best_precision(loop.device).precision if loop.precision == "auto" else loop.precision


def _flags() -> set[str] | None:
    """The flags of IN_HARDWARE that the system tells of this CPU; None where it tells no flags."""
    try:
        told = CPU_FLAGS.read_text()
    except OSError:  # no Linux
        return None
    return {flag for flag in IN_HARDWARE if re.search(rf"\b{flag}\b", told)}


@functools.cache  # a process never answers differently twice
def _share_of_time() -> float:
    """Time of a product of the output layer in bfloat16, as a share of its time in float32.

    The least processor time of several counts, alternating, so that work beside it hardly does.
    """
    positions, width, vocabulary = OUTPUT_LAYER
    seconds: dict[torch.dtype, list[float]] = {torch.bfloat16: [], torch.float32: []}
    for _ in range(1 + PAIRS):
        for dtype, found in seconds.items():
            hidden_NxD, output_DxV = (
                torch.ones(positions, width, dtype=dtype),
                torch.ones(width, vocabulary, dtype=dtype),
            )
            started = time.process_time()
            torch.mm(hidden_NxD, output_DxV)
            found.append(time.process_time() - started)
    low, full = (min(found[1:]) for found in seconds.values())  # the first chooses kernels
    return low / full
