"""The students' attention: PyTorch's own, always causal, in the precision that is faster on the device.

B batch   H heads   T time   d width of a head
"""

from typing import Any, Final

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

# Under transformers' own name for it ("sdpa"), each forward pass asks the GPU whether the batch holds packed sequences,
# and waits for the answer; ours never does. It knows no window and no mask.
CAUSAL: Final = "causal_sdpa"
# T times d. On a CPU the backward pass of short sequences takes up to four times as long in bfloat16 as in float32
# (T 128, d 32: 41 against 10 ms for 4,096 tokens; at T 512, d 32 they are equal, beyond that bfloat16 is faster).
SHORT: Final = 8192


def register_causal() -> None:
    """Make `CAUSAL` a name that transformers knows."""
    AttentionInterface.register(CAUSAL, causal_attention)


def causal_attention(
    module: torch.nn.Module,
    query_BxHxTxd: Tensor,
    key_BxHxTxd: Tensor,
    value_BxHxTxd: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attend, as transformers asks it of its attentions; short sequences on a CPU in float32 under autocast, too."""
    qkv = (query_BxHxTxd, key_BxHxTxd, value_BxHxTxd)
    time, width = query_BxHxTxd.shape[2:]
    low_on_cpu = query_BxHxTxd.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if not low_on_cpu or time * width > SHORT:
        return sdpa_attention_forward(module, *qkv, attention_mask, **settings)  # type: ignore[no-any-return]
    with torch.autocast("cpu", enabled=False):
        precise = (tensor.float() for tensor in qkv)
        return sdpa_attention_forward(module, *precise, attention_mask, **settings)  # type: ignore[no-any-return]
