"""bfloat16 is taken where the machine multiplies it in hardware, and nowhere else."""

from pathlib import Path

import pytest
import torch

from trainable.student import precision
from trainable.student.precision import best_precision


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx2 avx512f avx512_bf16 amx_tile", "bfloat16"),
        ("flags : fpu avx512f amx_bf16", "bfloat16"),
        ("flags : fpu avx2 avx512f avx512bw", "float32"),
        (None, "float32"),
    ],
)
def test_a_cpu_takes_bfloat16_where_its_flags_name_it(
    flags: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "CPU_FLAGS", tmp_path / "cpuinfo")
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(flags)
    assert best_precision() == expected


@pytest.mark.parametrize(("supported", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_decides_before_the_cpu(supported: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert best_precision() == expected
