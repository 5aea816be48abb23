"""Teacher with the answers of a small trained model: its likeliest tokens at each position of the training blocks.

The model is asked once, before the trials. Each position has its own row, which depends on all tokens before it in the
block. The parent of a row is the bigram row of the token at its position, which gets the mass of the tokens that were
not kept.
"""

import numpy as np
import torch

from trainable.errors import InputError, require
from trainable.teacher.answers import Answers, residual
from trainable.teacher.device_rows import to_device
from trainable.teacher.host_rows import HostRows
from trainable.teacher.kinds.bigram import device_table, distinct
from trainable.teacher.material import Material
from trainable.teacher.table import cut_rows
from trainable.teacher.teacher import RowTeacher, SparseRows, StepRows


class ModelTeacher(RowTeacher):
    """Teacher with a model's answers: `guide` needs the numbers of the training blocks of its contexts."""

    @classmethod
    def prepare(cls, material: Material) -> Answers:
        """Return the answers of the model of the settings, which small_teacher.py trains, asks and caches."""
        if material.answers is None:
            raise InputError(
                "a teacher of kind model must first be trained and asked: use trainable.prepare.prepare_run."
            )
        return material.answers()

    def __init__(
        self, table: Answers, device: torch.device | str = "cpu", *, product: torch.dtype | None = None
    ) -> None:
        super().__init__(table, device, product=product)
        self.base_V = torch.tensor(table.parent.base_V, device=device)
        on_gpu = self.device.type == "cuda"
        self.parents_on_device = device_table(table.parent, self.device, product) if on_gpu else None

    def rows(
        self,
        context: np.ndarray,
        blocks: np.ndarray | None,
        dtype: torch.dtype,
        begins: np.ndarray | None = None,
    ) -> StepRows:
        """Return one row for each distinct token, and one for each position; `begins` is not used.

        The model saw the whole block when it was asked.
        """
        answers: Answers = self.table
        _check(answers, context, blocks)
        # 1 the answers to these blocks, one row for each position
        width = answers.ids_BxTxk.shape[2]
        columns_NxK = answers.ids_BxTxk[blocks].reshape(-1, width).astype(np.int32)
        kept_NxK = answers.p_BxTxk[blocks].reshape(-1, width)
        # 2 before them the rows of their parents, one for each distinct token
        contexts_C, parent = distinct(context, answers.vocab_size)
        parents, positions = len(contexts_C), len(kept_NxK)
        sparse: SparseRows
        if self.parents_on_device is None:
            indptr_C1, columns_Z, values_Z = cut_rows(answers.parent, contexts_C, np.int32)
            indptr_R1 = np.concatenate([indptr_C1, indptr_C1[-1] + np.arange(1, positions + 1) * width])
            columns_Z = np.concatenate([columns_Z, columns_NxK.ravel()])
            values_Z = np.concatenate([values_Z, kept_NxK.ravel().astype(np.float32)])
            sparse = HostRows(indptr_R1, columns_Z, values_Z, answers.vocab_size, dtype)
        else:
            there = self.parents_on_device.with_rows(
                *(to_device(part, self.device) for part in (columns_NxK, kept_NxK))
            )
            rows_R = np.concatenate([contexts_C, answers.vocab_size + np.arange(positions)])
            length_C = answers.parent.indptr[contexts_C + 1] - answers.parent.indptr[contexts_C]
            sparse = there.cut(rows_R, np.concatenate([length_C, np.full(positions, width)]), dtype)
        backoff_R = np.concatenate([answers.parent.backoff_V[contexts_C], residual(kept_NxK)])
        return StepRows(
            sparse=sparse,
            row=to_device((parents + np.arange(positions)).reshape(context.shape), self.device),
            backoff_R=to_device(backoff_R, self.device).to(dtype),
            parent_R=to_device(np.concatenate([np.zeros(parents, np.int64), parent.ravel()]), self.device),
            levels=(slice(0, parents), slice(parents, parents + positions)),
        )


def _check(answers: Answers, context: np.ndarray, blocks: np.ndarray | None) -> None:
    """Raise InputError unless the contexts are whole blocks for which there are answers."""
    if blocks is None:
        raise InputError("a teacher of kind model answers by block: give guide() the numbers of the training blocks.")
    number, length, _ = answers.ids_BxTxk.shape
    require(
        context.shape == (*blocks.shape, length),
        f"a teacher of kind model has answered to {length} positions of each block, and is asked about contexts of "
        f"shape {context.shape} for {blocks.size} blocks: give whole blocks, as they were prepared.",
    )
    for what, values, limit in (("token id", context, answers.vocab_size), ("block", blocks, number)):
        if values.size and not 0 <= (worst := int(values.max() if values.min() >= 0 else values.min())) < limit:
            raise InputError(
                f"{what} {worst} is outside the {limit} that the teacher's model has answers for: ask it about these "
                "blocks, with their tokenizer."
            )
