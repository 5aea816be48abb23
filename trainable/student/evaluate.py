"""Plain validation loss, by which arms are compared: one-hot cross-entropy, teacher off, on fixed blocks.

B blocks   N positions of a batch   n positions of a chunk   V vocabulary   D width
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from transformers import LlamaForCausalLM

from trainable.student.batches import Batch, eval_batches
from trainable.student.model import hidden_states, output_bias, output_matrix
from trainable.student.output_layer import IGNORE_INDEX, cross_entropies, logits_buffer
from trainable.student.ranks import ALONE, Ranks
from trainable.text.blocks import TokenBlocks


class Evaluation(NamedTuple):
    loss: float  # nats per token
    standard_error: float  # over blocks; NaN for a single block


@torch.inference_mode()
def evaluate(
    model: LlamaForCausalLM, blocks: TokenBlocks, batch_blocks: int, autocast: torch.autocast, ranks: Ranks = ALONE
) -> Evaluation:
    """Mean cross-entropy over all targets of `blocks`, with its standard error over blocks; the same on all ranks."""
    model.eval()
    with autocast:
        buffer_nxV = logits_buffer(output_matrix(model), batch_blocks * (blocks.ids_BxT.shape[1] - 1))
        batches = eval_batches(blocks, batch_blocks, model.device, ranks)
        losses_2xB = [_losses(model, batch, buffer_nxV) for batch in batches]
    model.train()
    loss_B, count_B = np.concatenate(ranks.in_order([losses.cpu().numpy() for losses in losses_2xB]), axis=1)
    return summarise(loss_B, count_B)


def summarise(loss_B: np.ndarray, count_B: np.ndarray) -> Evaluation:
    """Ratio estimate of the mean loss per token, and its standard error with blocks as the sampled units."""
    blocks, tokens = len(loss_B), count_B.sum()
    mean = float(loss_B.sum() / tokens)
    if blocks < 2:
        return Evaluation(mean, math.nan)
    residual_B = loss_B - mean * count_B
    return Evaluation(mean, float(np.sqrt(blocks / (blocks - 1) * (residual_B**2).sum()) / tokens))


def _losses(model: LlamaForCausalLM, batch: Batch, buffer_nxV: torch.Tensor) -> torch.Tensor:
    """Summed loss of each block and its number of targets, [2, B], float64."""
    hidden_NxD = hidden_states(model, batch.context_BxT).flatten(0, 1)
    target_N, bias_V = batch.target_BxT.flatten(), output_bias(model)
    loss_N = cross_entropies(hidden_NxD, output_matrix(model), target_N, buffer_nxV, bias_V)
    loss_B = loss_N.view(batch.target_BxT.shape).sum(1)
    return torch.stack([loss_B.double(), (batch.target_BxT != IGNORE_INDEX).sum(1).double()])
