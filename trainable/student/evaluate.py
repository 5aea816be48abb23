"""Plain validation loss, by which arms are compared: one-hot cross-entropy on fixed blocks, without the teacher.

An evaluation may include diagnostics of the student on the first of these blocks (diagnostics.py).

B blocks   N positions of a batch   n positions of a chunk   V vocabulary   D width
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from trainable.student.batches import eval_batches
from trainable.student.diagnostics import Diagnostics, diagnose
from trainable.student.model import hidden_states, output_bias, output_matrix
from trainable.student.output_layer import IGNORE_INDEX, cross_entropies, logits_buffer
from trainable.student.ranks import ALONE, Ranks
from trainable.text.blocks import TokenBlocks


class Evaluation(NamedTuple):
    loss: float  # nats per token
    standard_error: float  # over blocks; NaN for a single block
    diagnostics: Diagnostics = Diagnostics()


@torch.inference_mode()
def evaluate(
    model: PreTrainedModel,
    blocks: TokenBlocks,
    batch_blocks: int,
    autocast: torch.autocast,
    ranks: Ranks = ALONE,
    unigram_V: Tensor | None = None,
) -> Evaluation:
    """Mean cross-entropy over all targets of `blocks`, with its standard error over blocks; equal on all ranks.

    unigram_V: log-probabilities of all output rows; if given, the first rank adds diagnostics on the first batch.
    """
    model.eval()
    buffer_nxV: Tensor | None = None
    found: list[Tensor] = []  # on the device: losses and counts of each batch, [2, B]
    diagnostics: Tensor | None = None
    output_VxD, bias_V = output_matrix(model), output_bias(model)
    for batch in eval_batches(blocks, batch_blocks, model.device, ranks):
        target_N = batch.target_BxT.flatten()
        with autocast:
            hidden_NxD = hidden_states(model, batch.context_BxT).flatten(0, 1)
            if buffer_nxV is None:
                buffer_nxV = logits_buffer(output_VxD, len(target_N))
        loss_N = cross_entropies(hidden_NxD, output_VxD, target_N, buffer_nxV, bias_V)
        loss_B = loss_N.view(batch.target_BxT.shape).sum(1)
        found.append(torch.stack([loss_B.double(), (batch.target_BxT != IGNORE_INDEX).sum(1).double()]))
        if unigram_V is not None and ranks.first and diagnostics is None:
            diagnostics = diagnose(hidden_NxD, output_VxD, bias_V, target_N, unigram_V, buffer_nxV)
    model.train()
    loss_B, count_B = np.concatenate(ranks.in_order([losses.cpu().numpy() for losses in found]), axis=1)
    evaluation = summarise(loss_B, count_B)
    return evaluation if diagnostics is None else evaluation._replace(diagnostics=Diagnostics(*diagnostics.tolist()))


def summarise(loss_B: np.ndarray, count_B: np.ndarray) -> Evaluation:
    """Ratio estimate of the mean loss per token, with its standard error; blocks are the sampled units."""
    blocks, tokens = len(loss_B), count_B.sum()
    mean = float(loss_B.sum() / tokens)
    if blocks < 2:
        return Evaluation(mean, math.nan)
    residual_B = loss_B - mean * count_B
    return Evaluation(mean, float(np.sqrt(blocks / (blocks - 1) * (residual_B**2).sum()) / tokens))
