"""A trial's own peak of memory, whatever ran in its process before."""

import math
import platform
from pathlib import Path

import pytest
import torch

from trainable.student import memory
from trainable.student.memory import PeakMemory

CPU, MIB = torch.device("cpu"), 2**20


def take(mib: int) -> None:
    """Have that much resident for a moment."""
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
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_what_a_large_trial_has_freed_does_not_count_for_the_next() -> None:
    """As models do, in pieces that the allocator keeps for later as long as anything lies above them."""
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
def test_the_peak_is_what_was_taken_at_most_not_what_is_left() -> None:
    before = PeakMemory(CPU)
    start = before.mib()
    take(200)
    assert before.mib() - start > 180


@pytest.mark.parametrize(("mark", "told"), [(900.0, 900.0), (700.0, math.nan)])
def test_where_the_mark_cannot_be_set_back_only_one_that_rises_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mark: float, told: float
) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "absent" / "clear_refs")
    monkeypatch.setattr(memory, "_high_water_mib", lambda: 700.0)
    peak = PeakMemory(CPU)
    monkeypatch.setattr(memory, "_high_water_mib", lambda: mark)
    assert peak.mib() == pytest.approx(told, nan_ok=True)


def test_a_container_that_takes_the_word_and_does_nothing_is_seen_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status = tmp_path / "status"
    status.write_text("VmHWM:\t  886000 kB\nVmRSS:\t  400000 kB\n")
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "clear_refs")
    monkeypatch.setattr(memory, "_STATUS", status)
    assert not PeakMemory(CPU)._cleared
