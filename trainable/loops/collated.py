"""Input of a teacher from the batches of a data collator of transformers: token ids, and where texts begin.

The history of a position is the tokens before it in its row that belong to its text. A collator marks the start of a
text by `position_ids` that start again (packed batches), and padding, on either side, by zeros in `attention_mask`. No
history reaches back across the start of a text or across padding. A bigram teacher uses one token, so both do not
matter to it.

A position that the mask hides has no history, so the teacher has no part in its loss. If such a position has a target,
as with left padding before the first token of a text, the student learns this target from the text alone.

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
)  # items of a batch that the student does not read


class Contexts(NamedTuple):
    """Positions of a micro-batch, on the host."""

    ids_BxT: NDArray[np.int64]  # 0 at hidden positions
    begins_BxT: NDArray[np.bool_]  # true where a history begins
    hidden_BxT: NDArray[np.bool_]  # true where the attention mask is 0


class Question(NamedTuple):
    """Input of a teacher in an optimizer step, as `Teacher.guide` takes it."""

    ids: NDArray[np.int64]  # [A, B, T], or [N] if rows differ in length or a history begins within a row
    begins: NDArray[np.bool_] | None  # [N]; None: histories begin only at the beginning of rows


def contexts_of(batch: Mapping[str, Any]) -> Contexts:
    """Return the positions of a collated micro-batch. Raises InputError if its histories cannot be known."""
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
    # 1 a text begins at the first position of a row, after hidden positions, and where position ids do not rise by 1
    begins_BxT = np.ones(ids_BxT.shape, np.bool_)
    begins_BxT[:, 1:] = hidden_BxT[:, :-1]
    if (positions := batch.get("position_ids")) is not None:
        require(
            isinstance(positions, Tensor) and positions.dim() == 2 and positions.shape[1] == ids.shape[1],
            f"the position_ids of a batch are {_shape(positions)} but its input_ids are {_shape(ids)}, so the teacher "
            "does not know where texts begin: give one position for each token.",
        )
        begins_BxT[:, 1:] |= np.diff(positions.cpu().numpy(), axis=1) != 1
    # 2 hidden positions get id 0: their own may be a padding token that the table does not have
    begins_BxT[:, 1:] &= ~hidden_BxT[:, 1:]
    return Contexts(np.where(hidden_BxT, 0, ids_BxT), begins_BxT, hidden_BxT)


def question_of(parts: Sequence[Contexts]) -> Question:
    """Join the positions of all micro-batches of a step to the input of a teacher."""
    alike = len({part.ids_BxT.shape for part in parts}) == 1
    if alike and not any(part.begins_BxT[:, 1:].any() for part in parts):
        return Question(np.stack([part.ids_BxT for part in parts]), None)
    ids_N, begins_N = (np.concatenate([part[field].ravel() for part in parts]) for field in (0, 1))
    return Question(ids_N, begins_N)


def targets_of(batch: Mapping[str, Any]) -> Tensor:
    """Return the target of each position, [B, T]: the next label in the row, or IGNORE_INDEX at the end of a row."""
    if (shifted := batch.get("shift_labels")) is not None:
        return torch.as_tensor(shifted)
    if (labels := batch.get("labels")) is None:
        raise InputError("a batch has no labels, so there is nothing to learn: let the data collator give them.")
    return F.pad(torch.as_tensor(labels)[:, 1:], (0, 1), value=IGNORE_INDEX)


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__
