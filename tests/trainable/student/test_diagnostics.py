"""Diagnostics of a student, against dense distributions and all pairs of hidden states. N positions, V tokens."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trainable.config import ModelConfig
from trainable.student import diagnostics
from trainable.student.diagnostics import Diagnostics, diagnose
from trainable.student.evaluate import evaluate
from trainable.student.model import build_model
from trainable.student.output_layer import IGNORE_INDEX
from trainable.student.ranks import Ranks
from trainable.text.blocks import TokenBlocks

N, V, D = 30, 17, 6


def material(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target_N = torch.randint(0, V, (N,), generator=generator)
    target_N[::4] = IGNORE_INDEX
    return {
        "hidden_NxD": torch.randn(N, D, generator=generator) + 0.3,
        "output_VxD": torch.randn(V, D, generator=generator),
        "bias_V": torch.randn(V, generator=generator),
        "target_N": target_N,
        "unigram_V": torch.randn(V, generator=generator).log_softmax(0),
    }


def by_hand(m: dict[str, Tensor], positions: int = N) -> list[float]:
    """The three diagnostics, computed from dense distributions and by a loop over pairs of hidden states."""
    counted = (m["target_N"] != IGNORE_INDEX) & (torch.arange(N) < positions)
    hidden_nxD = m["hidden_NxD"][counted].double()
    p_nxV = torch.softmax(hidden_nxD @ m["output_VxD"].double().t() + m["bias_V"].double(), 1)
    entropy = torch.distributions.Categorical(probs=p_nxV).entropy().mean().item()
    divergence = torch.nn.functional.kl_div(m["unigram_V"].double(), p_nxV, reduction="none").sum(1).mean().item()
    cosines = [
        torch.cosine_similarity(one, other, dim=0).item()
        for i, one in enumerate(hidden_nxD)
        for j, other in enumerate(hidden_nxD)
        if i != j
    ]
    return [entropy, float(np.mean(cosines)), divergence]


@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize("positions", [12, 4096])
def test_diagnostics_are_means_over_those_of_the_first_positions_that_have_a_target(
    chunk: int, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "POSITIONS", positions)
    found = diagnose(**material(), buffer_nxV=torch.empty(chunk, V))
    assert found.tolist() == pytest.approx(by_hand(material(), positions), rel=1e-5)


def test_diagnostics_with_products_in_bfloat16_are_close_to_those_in_float32() -> None:
    found = diagnose(**material(), buffer_nxV=torch.empty(8, V, dtype=torch.bfloat16))
    assert found.tolist() == pytest.approx(by_hand(material()), rel=2e-2)


def test_all_three_diagnostics_show_a_student_that_knows_only_the_unigram() -> None:
    """Equal hidden states and the unigram as bias give the unigram's entropy, cosine 1 and divergence 0."""
    m = material()
    m["hidden_NxD"], m["output_VxD"], m["bias_V"] = torch.ones(N, D), torch.zeros(V, D), m["unigram_V"]
    entropy = -(m["unigram_V"].exp() * m["unigram_V"]).sum().item()
    found = diagnose(**m, buffer_nxV=torch.empty(8, V)).tolist()
    assert found == pytest.approx([entropy, 1.0, 0.0], abs=1e-5)


def test_a_single_position_has_no_pair_and_so_no_cosine() -> None:
    m = material()
    m["target_N"][1:] = IGNORE_INDEX
    m["target_N"][0] = 3
    entropy, cosine, divergence = diagnose(**m, buffer_nxV=torch.empty(8, V)).tolist()
    assert math.isnan(cosine) and math.isfinite(entropy) and math.isfinite(divergence)


def test_diagnose_never_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("diagnose waits for the device")

    m = material()
    for name in ("item", "cpu", "numpy", "tolist", "nonzero", "__bool__", "__int__", "__float__"):
        monkeypatch.setattr(Tensor, name, refuse)
    diagnose(**m, buffer_nxV=torch.empty(8, V))


def test_only_the_first_rank_has_diagnostics_and_takes_them_from_the_first_batch_also_under_autocast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build_model(ModelConfig(), vocab_size=50, context=16, seed=0)
    ids_BxT, off = np.random.default_rng(0).integers(0, 50, (6, 16)), torch.autocast("cpu", enabled=False)
    blocks, head = (
        TokenBlocks(ids.astype(np.uint16), ids.ravel(), None, 0, None, 50, 1, 0, "f", "c", Path())
        for ids in (ids_BxT, ids_BxT[:4])
    )
    unigram_V = torch.linspace(-9, -1, 50)
    found = evaluate(model, blocks, 4, off, unigram_V=unigram_V).diagnostics
    assert found == pytest.approx(evaluate(model, head, 4, off, unigram_V=unigram_V).diagnostics, rel=1e-6)
    low = evaluate(model, blocks, 4, torch.autocast("cpu", dtype=torch.bfloat16), unigram_V=unigram_V).diagnostics
    assert low == pytest.approx(found, rel=2e-2)
    monkeypatch.setattr(Ranks, "in_order", lambda self, mine: mine)
    assert repr(evaluate(model, blocks, 2, off, Ranks(1, 2), unigram_V).diagnostics) == repr(Diagnostics())
