"""Attention of students: PyTorch's own, always causal, in the precision that is faster on the device.

B batch   H heads   T time   d width of a head
"""

from typing import Any, Final

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

# Name of this attention. transformers' own "sdpa" asks the GPU in each forward pass whether the batch holds packed
# sequences, and waits for the answer; this one does not. It supports neither a window nor a mask.
CAUSAL: Final = "causal_sdpa"
# Largest T times d of a short sequence. On a CPU the backward pass of short sequences takes up to four times as long in
# bfloat16 as in float32 (T 128, d 32: 41 against 10 ms for 4,096 tokens). At T 512, d 32 both take the same time; for
# longer sequences bfloat16 is faster.
SHORT: Final = 8192


def register_causal() -> None:
    """Register this attention in transformers under the name `CAUSAL`."""
    AttentionInterface.register(CAUSAL, causal_attention)


def causal_attention(
    module: torch.nn.Module,
    query_BxHxTxd: Tensor,
    key_BxHxTxd: Tensor,
    value_BxHxTxd: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attend, with transformers' interface; on a CPU short sequences are in float32, also under autocast."""
    qkv = (query_BxHxTxd, key_BxHxTxd, value_BxHxTxd)
    time, width = query_BxHxTxd.shape[2:]
    low_on_cpu = query_BxHxTxd.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if not low_on_cpu or time * width > SHORT:
        return sdpa_attention_forward(module, *qkv, attention_mask, **settings)  # type: ignore[no-any-return]
    with torch.autocast("cpu", enabled=False):
        precise = (tensor.float() for tensor in qkv)
        return sdpa_attention_forward(module, *precise, attention_mask, **settings)  # type: ignore[no-any-return]
