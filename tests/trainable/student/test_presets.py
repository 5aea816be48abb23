"""Sizes of presets that are told without transformers are those of the models that transformers builds."""

import pytest

from trainable.config import ModelConfig
from trainable.student.model import fresh_model, student_config
from trainable.student.presets import PRESETS, preset_parameters


@pytest.mark.parametrize("hidden", [None, 8, 48])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", PRESETS)
def test_the_number_of_weights_is_that_of_the_model(name: str, layers: int, hidden: int | None) -> None:
    config = ModelConfig(name=name, layers=layers, hidden=hidden)
    model = fresh_model(student_config(config, 100, 16), seed=0)
    assert preset_parameters(config, 100) == sum(parameter.numel() for parameter in model.parameters())
