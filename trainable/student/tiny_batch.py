"""Train on one tiny batch before a sweep starts, so that a model that cannot be trained is refused at once.

A config that passes transformers' validators may still fail in the first forward pass of every trial, give a loss that
is not finite, or have weights that get no gradient. The loss here also assumes of an architecture that:

- its logits are hidden states times an output matrix, plus a bias;
- its own loss is the cross-entropy of these logits;
- no position sees a later one;
- nothing in training is random.

A model with a few narrow layers and a small vocabulary shows all of this in milliseconds to seconds.

    T positions   V vocabulary   D width
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from trainable.config import ModelConfig, Precision
from trainable.errors import InputError, first_line
from trainable.student.batches import Batch
from trainable.student.config_keys import UnfitModel, default_keys, takes_none
from trainable.student.model import (
    architecture,
    fresh_model,
    hidden_states,
    output_bias,
    output_matrix,
    start_bias,
    student_config,
    student_settings,
    unfit,
)
from trainable.student.train import batch_loss

# {key: largest value in the tiny model}, for sizes that cost memory and do not change the result.
CUT: Final = {"vocab_size": 64, "vocab_size_per_layer_input": 64, "intermediate_size": 256, "moe_intermediate_size": 64}
POSITIONS: Final = 16
TOLERANCE: Final = 1e-5  # largest difference by rounding, as a share of the largest value
SHAKE: Final = 0.05  # standard deviation of noise on all weights, because initial values such as 0 could hide an effect


def check_trains(config: ModelConfig, vocab_size: int, context: int, precision: Precision = "float32") -> None:
    """Raise InputError unless a model of this architecture trains, and fulfils the assumptions of the loss.

    precision: precision of the loop, if it is already known.
    """
    student_config(config, vocab_size, context)
    settings = student_settings(config, vocab_size, context)
    sizes = default_keys(settings["model_type"]) | settings
    small = settings | {key: min(sizes[key], most) for key, most in CUT.items() if isinstance(sizes.get(key), int)}
    try:
        layers = min(layers_to_try(architecture(config, small)), config.layers)
        made = architecture(replace(config, layers=layers), small)
        ids_2xT1 = torch.arange(2 * min(POSITIONS + 1, context)).view(2, -1) % made.vocab_size
        with torch.random.fork_rng(devices=[]):
            problem = next(problems(made, config, ids_2xT1), "")
    except InputError:
        raise
    except Exception as error:  # any error of transformers or PyTorch would end every trial
        raise unfit(config, error) from None
    if problem:
        raise UnfitModel(config.name, problem)
    if precision in ("bfloat16", "float16"):
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                _our_loss(fresh_model(made, seed=0), ids_2xT1)
        except Exception as error:
            reason = f"not in {precision}: {first_line(error)}"
            raise UnfitModel(config.name, reason, "set loop.precision=float32") from None


def layers_to_try(made: PreTrainedConfig) -> int:
    """Smallest number of layers that includes one layer of each kind, and one more layer."""
    names = ("layer_types", "mlp_layer_types", "layers_block_type")
    lists = [value for name in names if isinstance(value := getattr(made, name, None), list)]
    kinds = list(zip(*lists, strict=False))
    return 2 + max((kinds.index(kind) for kind in set(kinds)), default=0)


def problems(made: PreTrainedConfig, config: ModelConfig, ids_2xT1: Tensor) -> Iterator[str]:
    """Yield the problems of a model, worst first."""
    model = fresh_model(made, seed=0)
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or type(head).forward is not torch.nn.Linear.forward:
        yield f"its output layer, {type(head).__name__}, is not a linear layer"
        return
    if config.output_bias == "unigram":
        start_bias(model, torch.zeros(len(head.weight)).log_softmax(0))
    yield from _of_training(model, ids_2xT1)
    model.zero_grad()
    with torch.no_grad():
        torch.manual_seed(0)
        for parameter in model.parameters():
            parameter += SHAKE * torch.randn_like(parameter)
        yield from _of_the_forward_pass(model, ids_2xT1)
        yield from _of_the_loss(model, made, ids_2xT1)


def _of_training(model: PreTrainedModel, ids_2xT1: Tensor) -> Iterator[str]:
    """Yield problems with the loss and the gradients of one batch."""
    loss = _our_loss(model, ids_2xT1)
    loss.backward()  # type: ignore[no-untyped-call]
    if not math.isfinite(loss.item()):
        yield f"the loss of its first batch is {loss.item()}"
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not all(torch.isfinite(gradient).all() for gradient in gradients):
        yield "the gradients of its first batch are not finite"
    if not any(gradient.any() for gradient in gradients):
        yield "its first batch gives no gradient"
    without = {name: p.numel() for name, p in model.named_parameters() if p.grad is None}
    if sum(without.values()) > sum(p.numel() for p in model.parameters()) / 2:
        yield f"no gradient of a text reaches most of its weights, such as {next(iter(without))}"


def _of_the_forward_pass(model: PreTrainedModel, ids_2xT1: Tensor) -> Iterator[str]:
    """Yield problems with the tokens that a position sees, and with the way from hidden states to logits."""
    input_2xT = ids_2xT1[:, :-1]
    in_training = hidden_states(model.train(), input_2xT)
    hidden_2xTxD = hidden_states(model.eval(), input_2xT)
    if not close(in_training, hidden_2xTxD):
        yield "its forward pass differs between training and evaluation, as with a dropout that has no setting"
    changed_2xT = input_2xT.clone()
    changed_at = input_2xT.shape[1] // 2
    changed_2xT[:, changed_at] += 1
    if not close(hidden_states(model, changed_2xT)[:, :changed_at], hidden_2xTxD[:, :changed_at]):
        hint = " unless is_decoder is true" if getattr(model.config, "is_decoder", None) is False else ""
        yield f"a token changes hidden states before it, so the model is not causal{hint}"
    if hidden_2xTxD.shape[-1] != output_matrix(model).shape[1]:
        yield "its logits are not made by its output layer alone"
    elif not close(hidden_states(model, input_2xT, times=1000), 1000 * hidden_2xTxD):
        yield _bent(model.config)


def _bent(made: PreTrainedConfig) -> str:
    """Describe logits that are not a multiple of hidden states times the output matrix, such as soft-capped ones."""
    caps = [
        key for key, value in made.to_dict().items() if "logit" in key and "cap" in key and "att" not in key and value
    ]
    known = f" ({' and '.join(caps)})" if caps else ""
    free = caps and all(takes_none(made.model_type, key) for key in caps)
    return (
        f"a non-linear function{known} follows its output layer, so the teacher's part of the loss has no exact form"
        f"{f' unless {caps[0]} is null' if free else ''}"
    )


def _of_the_loss(model: PreTrainedModel, made: PreTrainedConfig, ids_2xT1: Tensor) -> Iterator[str]:
    """Yield differences of logits and loss here from those of transformers with its own attention."""
    own = fresh_model(made, seed=0, attention="eager")
    if output_bias(own) is None and output_bias(model) is not None:
        start_bias(own, torch.zeros(len(output_matrix(own))))
    own.load_state_dict(model.state_dict())
    theirs = own.eval()(input_ids=ids_2xT1, labels=ids_2xT1, use_cache=False)
    logits_2xTxV, target_2xT = theirs.logits[:, :-1], ids_2xT1[:, 1:]
    hidden_2xTxD, bias_V = hidden_states(model, ids_2xT1[:, :-1]), output_bias(model)
    ours_2xTxV = hidden_2xTxD @ output_matrix(model).t() + (0 if bias_V is None else bias_V)
    if not close(ours_2xTxV, logits_2xTxV):
        yield "its own logits are not hidden states times the output matrix, plus its bias"
    plain = torch.nn.functional.cross_entropy(logits_2xTxV.flatten(0, 1), target_2xT.flatten())
    unshifted = torch.nn.functional.cross_entropy(theirs.logits.flatten(0, 1), ids_2xT1.flatten())
    if not (close(theirs.loss, plain) or close(theirs.loss, unshifted)):  # some do not shift the labels themselves
        yield "its own loss is not the cross-entropy of its logits, as with an auxiliary loss of experts"
    if not close(_our_loss(model, ids_2xT1) / target_2xT.numel(), plain):
        yield "the loss here differs from its own"


def _our_loss(model: PreTrainedModel, ids_2xT1: Tensor) -> Tensor:
    context_2xT = ids_2xT1[:, :-1]
    return batch_loss(model, Batch(context_2xT, ids_2xT1[:, 1:], context_2xT.numpy(), np.arange(2)), None)


def close(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two results differ only by rounding."""
    return bool((ours - theirs).abs().max() <= TOLERANCE * float(theirs.abs().max()))
