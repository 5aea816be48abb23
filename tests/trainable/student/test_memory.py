"""Peak memory of one trial, whatever ran before in the same process, and the return of GPU memory after a trial."""

import math
import platform
import weakref
from pathlib import Path

import pytest
import torch

from trainable.student import memory
from trainable.student.memory import PeakMemory, free_gpu_memory

CPU, MIB = torch.device("cpu"), 2**20


def take(mib: int) -> None:
    """Make this much memory resident for a moment."""
    torch.ones(mib * MIB // 4)


def can_be_set_back() -> bool:
    return PeakMemory(CPU)._cleared


@pytest.mark.skipif(not can_be_set_back(), reason="/proc/self/clear_refs does not work here")
def test_a_small_trial_after_a_large_one_has_a_small_peak() -> None:
    large = PeakMemory(CPU)
    take(300)
    first = large.mib()
    small = PeakMemory(CPU)
    take(20)
    assert first - small.mib() > 200


@pytest.mark.skipif(not can_be_set_back(), reason="/proc/self/clear_refs does not work here")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_that_a_large_trial_has_freed_does_not_count_for_the_next_trial() -> None:
    """The large trial frees small pieces, which the allocator keeps as long as memory above them is in use."""
    large = PeakMemory(CPU)
    pieces = [torch.ones(16 * 1024) for _ in range(300 * MIB // 2**16)]
    above = torch.ones(1024)
    first = large.mib()
    del pieces
    small = PeakMemory(CPU)
    take(20)
    assert first - small.mib() > 200
    assert above.numel() == 1024


@pytest.mark.skipif(not can_be_set_back(), reason="/proc/self/clear_refs does not work here")
def test_the_peak_includes_memory_that_was_freed_again() -> None:
    before = PeakMemory(CPU)
    start = before.mib()
    take(200)
    assert before.mib() - start > 180


@pytest.mark.parametrize(("mark", "told"), [(900.0, 900.0), (700.0, math.nan)])
def test_if_the_high_water_mark_cannot_be_reset_it_is_reported_only_if_it_rises(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mark: float, told: float
) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "absent" / "clear_refs")
    monkeypatch.setattr(memory, "_high_water_mib", lambda: 700.0)
    peak = PeakMemory(CPU)
    monkeypatch.setattr(memory, "_high_water_mib", lambda: mark)
    assert peak.mib() == pytest.approx(told, nan_ok=True)


def test_a_container_that_accepts_the_reset_and_ignores_it_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status = tmp_path / "status"
    status.write_text("VmHWM:\t  886000 kB\nVmRSS:\t  400000 kB\n")
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "clear_refs")
    monkeypatch.setattr(memory, "_STATUS", status)
    assert not PeakMemory(CPU)._cleared


def test_an_ended_trial_is_collected_before_its_gpu_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of a model that exists cannot be given back, and a model is in a cycle once its layers are compiled."""
    model = torch.nn.Linear(2, 2)
    model.forward = model.forward  # type: ignore[method-assign]  # a bound method: the cycle
    alive, found = weakref.ref(model), []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: found.append(alive()))
    del model
    assert alive() is not None
    free_gpu_memory()
    assert found == [None]


def test_a_process_that_has_not_used_a_gpu_gives_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: pytest.fail("this would start CUDA"))
    free_gpu_memory()
