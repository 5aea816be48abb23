"""Validation loss: plain cross-entropy, with the standard error of the mean over blocks."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from trainable.config import ModelConfig
from trainable.student import output_layer
from trainable.student.evaluate import evaluate, summarise
from trainable.student.model import build_model
from trainable.text.blocks import TokenBlocks

OFF = torch.autocast("cpu", enabled=False)
IDS_BxT = np.random.default_rng(0).integers(0, 50, (6, 16)).astype(np.uint16)


def blocks_of(ids_BxT: np.ndarray, lengths_B: np.ndarray | None = None) -> TokenBlocks:
    return TokenBlocks(ids_BxT, ids_BxT.ravel(), lengths_B, 0, None, 50, 1, 0, "f", "c", Path())


def test_validation_loss_equals_the_loss_that_transformers_computes() -> None:
    model = build_model(ModelConfig(), vocab_size=50, context=16, seed=0)
    ids = torch.from_numpy(IDS_BxT.astype(np.int64))
    expected = model(input_ids=ids, labels=ids).loss.item()
    for batch_blocks in (1, 4, 100):
        assert evaluate(model, blocks_of(IDS_BxT), batch_blocks, OFF).loss == pytest.approx(expected, rel=1e-6)


def test_validation_loss_includes_the_output_bias() -> None:
    unigram_V = torch.linspace(-9, -1, 50)
    model = build_model(ModelConfig(output_bias="unigram"), vocab_size=50, context=16, seed=0, unigram_V=unigram_V)
    ids = torch.from_numpy(IDS_BxT.astype(np.int64))
    logits_NxV = model(input_ids=ids[:, :-1]).logits.flatten(0, 1)  # transformers adds the bias of its linear layer
    expected = torch.nn.functional.cross_entropy(logits_NxV, ids[:, 1:].flatten()).item()
    assert evaluate(model, blocks_of(IDS_BxT), 4, OFF).loss == pytest.approx(expected, rel=1e-6)
    assert expected != pytest.approx(math.log(50), abs=0.5)


@pytest.mark.parametrize("positions", [1, 7, 45])  # a block has 15: chunks of 7 may span two, a chunk of 45 has three
def test_chunks_of_positions_change_nothing(monkeypatch: pytest.MonkeyPatch, positions: int) -> None:
    model = build_model(ModelConfig(), vocab_size=50, context=16, seed=0)
    lengths_B = np.array([16, 3, 9, 16, 2, 16], np.int32)
    blocks, unigram_V = blocks_of(IDS_BxT, lengths_B), torch.linspace(-9, -1, 50)
    whole = evaluate(model, blocks, 4, OFF, unigram_V=unigram_V)
    monkeypatch.setitem(output_layer.CHUNK, "cpu", positions)
    found = evaluate(model, blocks, 4, OFF, unigram_V=unigram_V)
    assert (*found[:2], *found.diagnostics) == pytest.approx((*whole[:2], *whole.diagnostics), rel=1e-5)


def test_validation_loss_in_bfloat16_is_close_to_that_in_float32() -> None:
    model = build_model(ModelConfig(), vocab_size=50, context=16, seed=0)
    precise = evaluate(model, blocks_of(IDS_BxT), 4, OFF).loss
    low = evaluate(model, blocks_of(IDS_BxT), 4, torch.autocast("cpu", dtype=torch.bfloat16)).loss
    assert low != precise
    assert low == pytest.approx(precise, rel=1e-3)


def test_padding_counts_neither_in_the_loss_nor_as_a_token() -> None:
    model = build_model(ModelConfig(), vocab_size=50, context=16, seed=0)
    short = evaluate(model, blocks_of(IDS_BxT[:, :9]), 4, OFF)
    padded = evaluate(model, blocks_of(IDS_BxT, np.full(6, 9, np.int32)), 4, OFF)
    assert padded.loss == pytest.approx(short.loss, rel=1e-6)
    assert padded.standard_error == pytest.approx(short.standard_error, rel=1e-5)


def test_equal_blocks_give_the_standard_error_of_a_mean() -> None:
    mean_B = np.array([5.0, 5.5, 6.0, 5.2])
    evaluation = summarise(mean_B * 10, np.full(4, 10))
    assert evaluation.loss == pytest.approx(mean_B.mean())
    assert evaluation.standard_error == pytest.approx(mean_B.std(ddof=1) / math.sqrt(4))


def test_unequal_blocks_agree_with_the_bootstrap() -> None:
    rng = np.random.default_rng(0)
    count_B = rng.integers(5, 100, 400)
    loss_B = count_B * rng.normal(5, 1, 400)
    drawn = rng.integers(0, 400, (4000, 400))
    bootstrap = (loss_B[drawn].sum(1) / count_B[drawn].sum(1)).std()
    assert summarise(loss_B, count_B).standard_error == pytest.approx(bootstrap, rel=0.05)


def test_one_block_has_no_standard_error() -> None:
    assert math.isnan(summarise(np.array([50.0]), np.array([10])).standard_error)
