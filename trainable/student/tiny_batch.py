"""Train on one tiny batch before anything starts: a model that cannot be trained costs a sentence, not a sweep.

What transformers' validators let pass fails in the first forward pass of every trial, or gives a loss that is no
number, or weights that no gradient reaches. One narrow layer and a few tokens of vocabulary show all of that, in
milliseconds.
"""

import math

import numpy as np
import torch
from transformers import LlamaConfig

from trainable.config import ModelConfig
from trainable.errors import InputError
from trainable.student.batches import Batch
from trainable.student.model import fresh_model, llama_config, unfit
from trainable.student.train import batch_loss

# At most, of what costs memory and says nothing new: depth, vocabulary, and the width within a layer.
CUT = {"num_hidden_layers": 1, "vocab_size": 64, "intermediate_size": 256}
POSITIONS = 16


def check_trains(config: ModelConfig, vocab_size: int, context: int) -> None:
    """Raise InputError unless a model of this architecture runs forward and backward, with a gradient everywhere."""
    whole = llama_config(config, vocab_size, context).to_dict()
    try:
        cut = LlamaConfig(**(whole | {key: min(whole[key], most) for key, most in CUT.items()}))
        problem = _problem(cut, min(POSITIONS, context - 1))
    except Exception as error:  # whatever transformers and PyTorch raise would end every trial
        raise unfit(config, error) from None
    if problem:
        raise InputError(f"model {config.name} cannot be trained ({problem}): mend its config.json.")


def _problem(llama: LlamaConfig, positions: int) -> str:
    """What is wrong with the loss and the gradients of one batch of the model; "" for nothing."""
    model = fresh_model(llama, seed=0)
    ids_2xT = torch.arange(2 * (positions + 1)).view(2, -1) % llama.vocab_size
    context_2xT = ids_2xT[:, :-1]
    loss = batch_loss(model, Batch(context_2xT, ids_2xT[:, 1:], context_2xT.numpy(), np.arange(2)), None)
    loss.backward()  # type: ignore[no-untyped-call]
    if not math.isfinite(loss.item()):
        return f"the loss of its first batch is {loss.item()}"
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not all(torch.isfinite(gradient).all() for gradient in gradients):
        return "the gradients of its first batch are not finite"
    if not any(gradient.any() for gradient in gradients):
        return "its first batch gives no gradient"
    return ""
