"""Compilation of a model's layers: on a GPU all trials do it, and a failure only makes steps slower."""

from typing import Any

import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from trainable.config import ModelConfig
from trainable.student.compiled_layers import compile_layers, layers_of
from trainable.student.model import fresh_model, hidden_states, student_config


def small_llama(layers: int) -> Any:
    return fresh_model(student_config(ModelConfig(layers=layers, hidden=16), vocab_size=12, context=6), seed=0)


def loss_of(model: Any) -> torch.Tensor:
    return hidden_states(model, torch.arange(12).view(2, 6)).square().sum()


def test_each_layer_is_compiled_and_gives_the_same_gradients() -> None:
    """Dynamo traces the layers; the backend `eager` needs no C compiler."""
    model, same = small_llama(layers=3), small_llama(layers=3)
    loss_of(same).backward()
    compiled: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", with_backend(torch.compile, compiled))
        compile_layers(model, lambda: loss_of(model).backward())
    assert len(layers_of(model)) == len(compiled) == 3
    assert all(parameter.grad is None for parameter in model.parameters()), "the gradients of the first step stay"
    loss_of(model).backward()
    for ours, theirs in zip(model.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def with_backend(compile_it: Any, compiled: list[Any]) -> Any:
    """torch.compile with a backend that needs no C compiler; it notes what it compiles."""

    def patched(what: Any, *words: Any, **named: Any) -> Any:
        compiled.append(what)
        return compile_it(what, *words, **named, backend="eager")

    return patched


def test_a_model_that_cannot_be_compiled_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fails)
    model = small_llama(layers=2)
    compile_layers(model, lambda: loss_of(model).backward())
    assert torch.isfinite(loss_of(model))
    assert [record.getMessage() for record in caplog.records] == [
        "PyTorch cannot compile the model's layers here (Failed to find C compiler): steps are slower."
    ]


def test_layers_are_those_that_transformers_calls_so() -> None:
    assert [type(layer).__name__ for layer in layers_of(small_llama(layers=2))] == ["LlamaDecoderLayer"] * 2
    assert all(isinstance(layer, GradientCheckpointingLayer) for layer in layers_of(small_llama(layers=2)))
