"""Diagnostics of a student at a report: entropy of its output, cosine of hidden states, divergence from the unigram.

A student that has learnt only the frequencies of tokens has hidden states that all point in one direction, and the
unigram as output. The diagnostics tell such a stall from learning, which the loss alone does not. They use about
a thousand positions and add a tenth to the time of a small evaluation; nothing here waits for a GPU.

N positions of a batch   n positions used   V vocabulary   D width
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from trainable.student.output_layer import IGNORE_INDEX, log_probabilities

POSITIONS = 1024  # largest number of positions used: the first ones of the batch


class Diagnostics(NamedTuple):
    """Means over the positions that have a target; NaN if not known."""

    output_entropy: float = math.nan  # of the student's output, nats
    hidden_cosine: float = math.nan  # of the hidden states of two different positions, -1 to 1
    unigram_kl: float = math.nan  # divergence KL(output || unigram), nats


def diagnose(
    hidden_NxD: Tensor,
    output_VxD: Tensor,
    bias_V: Tensor | None,
    target_N: Tensor,
    unigram_V: Tensor,
    buffer_nxV: Tensor,
) -> Tensor:
    """Compute the values of a Diagnostics, [3], on the device; unigram_V: log-probabilities of all output rows."""
    hidden_nxD = hidden_NxD[:POSITIONS]
    counted_n = (target_N[:POSITIONS] != IGNORE_INDEX).float()
    count = counted_n.sum()

    # 1 for each position: entropy, - sum p log p, and divergence, sum p (log p - log u)
    entropies, divergences = [], []
    for log_p_nxV in log_probabilities(hidden_nxD, output_VxD, buffer_nxV, bias_V):
        p_nxV = log_p_nxV.exp()
        entropies.append(-torch.linalg.vecdot(p_nxV, log_p_nxV))
        divergences.append(-entropies[-1] - torch.mv(p_nxV, unigram_V))

    # 2 mean cosine over all pairs of positions: (|sum of unit vectors|^2 - count) / number of ordered pairs
    unit_nxD = torch.nn.functional.normalize(hidden_nxD.float(), dim=1) * counted_n.unsqueeze(1)
    pairs = torch.where(count > 1, count * (count - 1), math.nan)
    cosine = (unit_nxD.sum(0).square().sum() - count) / pairs

    means = [(torch.cat(values_n) * counted_n).sum() / count for values_n in (entropies, divergences)]
    return torch.stack([means[0], cosine, means[1]])
