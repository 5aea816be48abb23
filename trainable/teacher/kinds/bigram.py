"""Smoothed bigrams: the teacher that this project asks about. A row is what follows one token."""

import numpy as np
import torch

from trainable.teacher.device_rows import DeviceTable, to_device
from trainable.teacher.host_rows import HostRows
from trainable.teacher.material import Material
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import BigramTable, check_ids, cut_rows, load_table, save_table
from trainable.teacher.teacher import RowTeacher, SparseRows, StepRows, TableFile


class BigramTeacher(RowTeacher):
    """The teacher of a bigram `table`: what it says of a position depends on the token there alone.

    device: where the student is. product: dtype of its matrix products on a GPU, such as torch.bfloat16 for a student
    under autocast; None: that of the student's output matrix. On a CPU its products are sparse; a GPU keeps the table.
    `guide` says what the table teaches in an optimizer step.
    """

    table_file = TableFile(save_table, load_table)

    @classmethod
    def prepare(cls, material: Material) -> BigramTable:
        """The table of the counts under the smoothing of the settings."""
        return estimate_table(
            material.counts(),
            material.smoothing,
            material.strength,
            min_count=material.min_counts[0],
            tokenizer_fingerprint=material.tokenizer_fingerprint,
            rows=material.rows,
        )

    def __init__(
        self, table: BigramTable, device: torch.device | str = "cpu", *, product: torch.dtype | None = None
    ) -> None:
        super().__init__(table, device, product=product)
        self.base_V = torch.tensor(table.base_V, device=device)
        self.on_device = device_table(table, self.device, product) if self.device.type == "cuda" else None

    def rows(
        self,
        context: np.ndarray,
        blocks: np.ndarray | None,
        dtype: torch.dtype,
        begins: np.ndarray | None = None,
    ) -> StepRows:
        """One row for each distinct id; where a history begins is no matter to it."""
        # 1 which contexts C: each distinct one once; the row of a position
        check_ids(self.table, context.reshape(-1))
        row_V = np.zeros(self.table.vocab_size, np.int64)
        row_V[context] = 1
        contexts_C = np.flatnonzero(row_V)
        row_V[contexts_C] = np.arange(len(contexts_C))

        # 2 cut their sparse rows, and their shares of the vector that all have in common
        sparse: SparseRows
        if self.on_device is None:
            sparse = HostRows(*cut_rows(self.table, contexts_C, np.int32), self.table.vocab_size, dtype)
        else:
            sparse = self.on_device.cut(contexts_C, dtype)
        backoff_C = self.table.backoff_V[contexts_C]
        return StepRows(
            sparse=sparse,
            row=to_device(row_V[context], self.device),
            backoff_R=to_device(backoff_C, self.device).to(dtype) if backoff_C.any() else None,
        )


def device_table(table: BigramTable, device: torch.device, product: torch.dtype | None = None) -> DeviceTable:
    """The table's sparse rows on a device, one for each token."""
    return DeviceTable(table.indptr, table.indices, table.values, table.vocab_size, device, product)
