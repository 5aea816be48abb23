"""Causal attention on a CPU: under autocast short sequences stay in float32, because bfloat16 is slower for them."""

import pytest
import torch
from torch import Tensor

from trainable.student.attention import SHORT, causal_attention

HEADS, WIDTH = 2, 32


class Layer(torch.nn.Module):
    """A layer with the two attributes that transformers' attention reads from the layer that calls it."""

    is_causal = True
    num_key_value_groups = 1


def qkv_of(time: int) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, HEADS, time, WIDTH) for _ in range(3)]


def dense(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention by its formula, [B, T, H, d], the shape that transformers expects."""
    time = query.shape[2]
    scores = query @ key.transpose(2, 3) / WIDTH**0.5
    hidden = torch.ones(time, time, dtype=torch.bool).triu(1)
    return (scores.masked_fill(hidden, -torch.inf).softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("time", [5, SHORT // WIDTH, SHORT // WIDTH + 1])
@pytest.mark.parametrize("autocast", [False, True])
def test_attention_is_causal_and_short_sequences_stay_in_float32_under_autocast(time: int, autocast: bool) -> None:
    qkv = qkv_of(time)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found, _ = causal_attention(Layer(), *qkv, attention_mask=None)
    in_low = autocast and time * WIDTH > SHORT
    assert found.dtype == (torch.bfloat16 if in_low else torch.float32)
    torch.testing.assert_close(found.float(), dense(*qkv), atol=2e-2 if in_low else 1e-5, rtol=0)
