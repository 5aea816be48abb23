"""Precision auto: bfloat16 if its products are faster than in float32; flags decide or, in doubt, a measurement."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from trainable.config import TrialConfig, override
from trainable.student import precision
from trainable.student.precision import Best, best_precision, resolved

X86 = "flags : fpu avx2 avx512f"
FASTER, SLOWER = 0.4, 1.3  # time of a product in bfloat16 / its time in float32


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def a_cpu(
    monkeypatch: pytest.MonkeyPatch, folder: Path, told: str | None, claims: str, share: float | None = None
) -> None:
    """Simulate a CPU. told: flags from Linux; claims: flags from PyTorch; share: time in bfloat16 / time in float32.

    With told None there is no file of flags; with share None a measurement fails.
    """

    def timed() -> float:
        assert share is not None, "a product is timed although the flags decide"
        return share

    monkeypatch.setattr(precision, "CPU_FLAGS", folder / "cpuinfo")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(claims.split(), True))
    monkeypatch.setattr(precision, "_share_of_time", timed)
    if told is not None:
        (folder / "cpuinfo").write_text(told)


@pytest.mark.parametrize(
    ("told", "claims", "expected"),
    [
        (f"{X86} avx512_bf16 amx_bf16 amx_tile", "avx512_bf16 amx_bf16", Best("bfloat16", "the CPU has AMX")),
        (f"{X86} amx_bf16", "amx_bf16", Best("bfloat16", "the CPU has AMX")),
        (X86, "avx2", Best("float32", "the CPU does not multiply bfloat16 in hardware")),
    ],
)
def test_flags_of_the_cpu_decide_if_pytorch_agrees(
    told: str, claims: str, expected: Best, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_cpu(monkeypatch, tmp_path, told, claims)
    assert best_precision() == expected


@pytest.mark.parametrize(
    ("told", "claims"),
    [
        (f"{X86} avx512_bf16", "avx512_bf16"),  # AVX512_BF16 alone is fast on some CPUs
        (X86, "amx_bf16"),
        (f"{X86} amx_bf16", "avx2"),
        ("Features : asimd bf16 i8mm", "bf16"),  # ARM
        (None, "amx_bf16"),  # not Linux
        (None, ""),
    ],
)
@pytest.mark.parametrize(("share", "expected"), [(FASTER, "bfloat16"), (0.7, "float32"), (SLOWER, "float32")])
def test_a_product_is_timed_if_the_flags_leave_doubt(
    told: str | None, claims: str, share: float, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_cpu(monkeypatch, tmp_path, told, claims, share)
    found = best_precision()
    assert found.precision == expected
    takes = f"a product of the output layer takes {share} times as long in bfloat16 as in float32"
    assert found.because == f"{takes} (worth it up to 0.6)"


def test_the_share_of_time_is_a_ratio_of_least_processor_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated clock advances 2 s a product in bfloat16, 8 s in float32, and 50 s more at every third product."""
    clock, taken, dtypes = [0.0], {torch.bfloat16: 2.0, torch.float32: 8.0}, list[torch.dtype]()

    def product(hidden_NxD: torch.Tensor, output_DxV: torch.Tensor) -> None:
        dtypes.append(hidden_NxD.dtype)
        clock[0] += taken[output_DxV.dtype] + 50 * (len(dtypes) % 3 == 1)

    with monkeypatch.context() as patch:
        patch.setattr(time, "thread_time", lambda: clock[0])
        patch.setattr(torch, "mm", product)
        assert precision._share_of_time.__wrapped__() == 0.25
    assert dtypes == [torch.bfloat16, torch.float32] * (1 + precision.PAIRS)


def test_a_process_times_products_once() -> None:
    assert precision._share_of_time() == precision._share_of_time() > 0


@pytest.mark.parametrize(("in_hardware", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_decides_before_the_cpu_unless_the_run_is_for_the_cpu(
    in_hardware: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, claims = (X86, "") if in_hardware else (f"{X86} amx_bf16", "amx_bf16")  # the CPU would say the opposite
    a_cpu(monkeypatch, tmp_path, told, claims)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: in_hardware)
    assert best_precision().precision == best_precision("cuda").precision == expected
    assert "GPU" in best_precision().because
    assert best_precision("cpu").precision != expected


@pytest.mark.parametrize("said", ["float32", "bfloat16", "float16"])
def test_only_precision_auto_is_resolved(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "best_precision", lambda device: Best("bfloat16", f"of {device}"))
    config = override(TrialConfig(), {"loop.device": "cpu"})
    assert config.loop.precision == "auto", "auto is not the default"
    assert resolved(config) == override(config, {"loop.precision": "bfloat16"})
    other = override(config, {"loop.precision": said})
    assert resolved(other) is other
