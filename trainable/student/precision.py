"""Precision for `loop.precision=auto`: bfloat16 if its products are faster than those of float32, else float32.

If a run may use a GPU, the GPU decides. Else the flags of the CPU decide, if PyTorch reports the same: with AMX
bfloat16 is faster, and without AMX and AVX512_BF16 it is far slower. In all other cases a product is timed: with
AVX512_BF16 alone an AMD EPYC is more than twice as fast as in float32, and an Intel Xeon with AMX switched off slower.
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
IN_HARDWARE: Final = (AMX, "avx512_bf16", "bf16")  # names of these flags in PyTorch and Linux; bf16: on ARM
OUTPUT_LAYER: Final = (256, 128, 4096)  # positions, width, vocabulary: a chunk of the output layer of `tiny`
PAIRS: Final = 5  # number of pairs of timed products, in turn
WORTH_IT: Final = 0.6  # largest share of float32's time for bfloat16: casts around products cost time too


class Best(NamedTuple):
    """The best precision on this machine, and the reason, as the end of a sentence."""

    precision: Literal["bfloat16", "float32"]
    because: str


def best_precision(device: Device = "auto") -> Best:
    """Choose the faster of bfloat16 and float32 for a run on a device that `loop.device` names."""
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
    because += f" (worth it up to {WORTH_IT:g})"
    return Best("bfloat16" if share <= WORTH_IT else "float32", because)


def resolved(config: TrialConfig) -> TrialConfig:
    """Return the config with precision auto replaced by the best one of this machine; any other config unchanged."""
    if config.loop.precision != "auto":
        return config
    return override(config, {"loop.precision": _precision(config.loop)})


def autocast_of(loop: LoopConfig, device: torch.device) -> torch.autocast:
    """Autocast to the precision of a loop's products; the context may be entered repeatedly."""
    precision = _precision(loop)
    return torch.autocast(device.type, dtype=getattr(torch, precision), enabled=precision != "float32")


def _precision(loop: LoopConfig) -> str:
    return best_precision(loop.device).precision if loop.precision == "auto" else loop.precision


def _flags() -> set[str] | None:
    """Flags of IN_HARDWARE that the system reports for this CPU; None if it reports no flags."""
    try:
        told = CPU_FLAGS.read_text()
    except OSError:  # not Linux
        return None
    return {flag for flag in IN_HARDWARE if re.search(rf"\b{flag}\b", told)}


@functools.cache  # so that a process always gives the same answer
def _share_of_time() -> float:
    """Time of a product of the output layer in bfloat16, as a share of its time in float32.

    The least processor time of this thread is used, of several alternating products: other work has little influence,
    also that of other threads, in one of which a sweep's Ray starts meanwhile.
    """
    positions, width, vocabulary = OUTPUT_LAYER
    seconds: dict[torch.dtype, list[float]] = {torch.bfloat16: [], torch.float32: []}
    for _ in range(1 + PAIRS):
        for dtype, found in seconds.items():
            hidden_NxD, output_DxV = (
                torch.ones(positions, width, dtype=dtype),
                torch.ones(width, vocabulary, dtype=dtype),
            )
            started = time.thread_time()
            torch.mm(hidden_NxD, output_DxV)
            found.append(time.thread_time() - started)
    low, full = (min(found[1:]) for found in seconds.values())  # without the first product, in which kernels are chosen
    return low / full
