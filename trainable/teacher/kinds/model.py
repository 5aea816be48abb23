"""A small trained model: its likeliest tokens at each position of the training blocks, asked for once beforehand.

The row of a position is its own, and knows all that stands before it in the block; its parent is the unigram, which
takes the mass of the tokens that were not kept.
"""

import numpy as np
import torch

from trainable.errors import InputError, require
from trainable.teacher.answers import Answers, residual
from trainable.teacher.device_rows import DeviceTable, to_device
from trainable.teacher.host_rows import HostRows
from trainable.teacher.material import Material
from trainable.teacher.teacher import RowTeacher, SparseRows, StepRows


class ModelTeacher(RowTeacher):
    """A model's answers at work: whoever asks has to say which training blocks the contexts are of."""

    @classmethod
    def prepare(cls, material: Material) -> Answers:
        """The answers of the model of the settings, which the preparation trains and keeps (small_teacher.py)."""
        if material.answers is None:
            raise InputError(
                "a teacher of kind model has to be trained and asked first: use trainable.prepare.prepare_run."
            )
        return material.answers()

    def __init__(
        self, table: Answers, device: torch.device | str = "cpu", *, product: torch.dtype | None = None
    ) -> None:
        super().__init__(table, device, product=product)
        self.base_V = torch.tensor(table.unigram_V, device=device)

    def rows(
        self,
        context: np.ndarray,
        blocks: np.ndarray | None,
        dtype: torch.dtype,
        begins: np.ndarray | None = None,
    ) -> StepRows:
        """One row for each position; what stands before it in its block was known when it was answered to."""
        answers: Answers = self.table
        # 1 what was answered to these blocks
        _check(answers, context, blocks)
        width = answers.ids_BxTxk.shape[2]
        columns_NxK = answers.ids_BxTxk[blocks].reshape(-1, width).astype(np.int32)
        kept_NxK = answers.p_BxTxk[blocks].reshape(-1, width)
        # 2 to where the student is: a GPU is given the rows that the host has cut
        positions = len(kept_NxK)
        columns_Z, values_Z = columns_NxK.ravel(), kept_NxK.ravel().astype(np.float32)
        indptr_N1 = np.arange(positions + 1) * width
        sparse: SparseRows
        if self.device.type == "cuda":
            there = DeviceTable(indptr_N1, columns_Z, values_Z, answers.vocab_size, self.device, self.product)
            sparse = there.cut(np.arange(positions), dtype)
        else:
            sparse = HostRows(indptr_N1, columns_Z, values_Z, answers.vocab_size, dtype)
        return StepRows(
            sparse=sparse,
            row=to_device(np.arange(positions).reshape(context.shape), self.device),
            backoff_R=to_device(residual(kept_NxK), self.device).to(dtype),
        )


def _check(answers: Answers, context: np.ndarray, blocks: np.ndarray | None) -> None:
    """Raise InputError unless these are contexts of blocks that were answered to."""
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
                f"{what} {worst} is outside the {limit} that the teacher's model has answered for: ask it about these "
                "blocks, with their tokenizer."
            )
