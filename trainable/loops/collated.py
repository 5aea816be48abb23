"""What a teacher is asked about of the batches that a data collator of transformers makes: ids, and where texts begin.

A position's history is what stands before it in its row and belongs to its text. A collator says where a text begins
by `position_ids` that start anew (packed batches), and where there is none by an `attention_mask` of zeros (padding, on
either side). A bigram knows the token alone; a longer history ends at both. A position that the mask hides has no
history, so nothing is taught there: where it has a target, as left padding gives to the first token of a text, that
target is learnt from the text alone.

    B rows of a micro-batch   T positions of a row   N positions of an optimizer step   A micro-batches
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainable.errors import InputError, require
from trainable.student.output_layer import IGNORE_INDEX

NO_INPUTS: Final = (
    "labels",
    "shift_labels",
    "num_items_in_batch",
    "use_cache",
)  # of a batch: what the student does not read


class Contexts(NamedTuple):
    """The positions of a micro-batch, on the host."""

    ids_BxT: NDArray[np.int64]  # 0 where nothing is taught
    begins_BxT: NDArray[np.bool_]  # where a history begins
    hidden_BxT: NDArray[np.bool_]  # by the attention mask


class Question(NamedTuple):
    """What a teacher is asked about in an optimizer step, as `Teacher.guide` takes it."""

    ids: NDArray[np.int64]  # [A, B, T], or [N] where rows differ in length or a history begins within one
    begins: NDArray[np.bool_] | None  # [N]; None: at the beginning of each row alone


def contexts_of(batch: Mapping[str, Any]) -> Contexts:
    """The positions of a collated micro-batch. Raises InputError where nobody knows what its histories are."""
    ids = batch.get("input_ids")
    if not isinstance(ids, Tensor) or ids.dim() != 2:
        raise InputError(
            "a batch has no input_ids [rows, positions], so the teacher does not know its contexts: let the data "
            "collator give them, not embeddings."
        )
    ids_BxT = ids.cpu().numpy().astype(np.int64)
    hidden_BxT = np.zeros(ids_BxT.shape, np.bool_)
    if (mask := batch.get("attention_mask")) is not None:
        require(
            isinstance(mask, Tensor) and mask.shape == ids.shape,
            f"the attention_mask of a batch is {_shape(mask)} but its input_ids are {_shape(ids)}, so the teacher does "
            "not know which tokens a position sees: give a mask of zeros and ones for each token.",
        )
        hidden_BxT = mask.cpu().numpy() == 0
    # 1 a text begins at the first position of a row, after hidden positions, and where positions do not go on by one
    begins_BxT = np.ones(ids_BxT.shape, np.bool_)
    begins_BxT[:, 1:] = hidden_BxT[:, :-1]
    if (positions := batch.get("position_ids")) is not None:
        require(
            isinstance(positions, Tensor) and positions.dim() == 2 and positions.shape[1] == ids.shape[1],
            f"the position_ids of a batch are {_shape(positions)} but its input_ids are {_shape(ids)}, so the teacher "
            "does not know where texts begin: give one position for each token.",
        )
        begins_BxT[:, 1:] |= np.diff(positions.cpu().numpy(), axis=1) != 1
    # 2 hidden positions: their ids may be those of a padding token that no table knows
    begins_BxT[:, 1:] &= ~hidden_BxT[:, 1:]
    return Contexts(np.where(hidden_BxT, 0, ids_BxT), begins_BxT, hidden_BxT)


def question_of(parts: Sequence[Contexts]) -> Question:
    """What a teacher is asked about for all micro-batches of a step together."""
    alike = len({part.ids_BxT.shape for part in parts}) == 1
    if alike and not any(part.begins_BxT[:, 1:].any() for part in parts):
        return Question(np.stack([part.ids_BxT for part in parts]), None)
    ids_N, begins_N = (np.concatenate([part[field].ravel() for part in parts]) for field in (0, 1))
    return Question(ids_N, begins_N)


def targets_of(batch: Mapping[str, Any]) -> Tensor:
    """The target of each position, [B, T]: the label after it, IGNORE_INDEX at the end of a row."""
    if (shifted := batch.get("shift_labels")) is not None:
        return torch.as_tensor(shifted)
    if (labels := batch.get("labels")) is None:
        raise InputError("a batch has no labels, so there is nothing to learn: let the data collator give them.")
    return F.pad(torch.as_tensor(labels)[:, 1:], (0, 1), value=IGNORE_INDEX)


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__
