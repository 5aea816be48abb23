"""Teacher of smoothed bigrams, which this project studies. A row is the distribution of tokens after one token."""

import numpy as np
import torch

from trainable.teacher.device_rows import DeviceTable, to_device
from trainable.teacher.host_rows import HostRows
from trainable.teacher.material import Material
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import BigramTable, check_ids, cut_rows, load_table, save_table
from trainable.teacher.teacher import RowTeacher, SparseRows, StepRows, TableFile


class BigramTeacher(RowTeacher):
    """Teacher with a bigram `table`: its distribution at a position depends only on the token at that position.

    device: device of the student. product: dtype of the teacher's matrix products on a GPU, such as torch.bfloat16 for
    a student under autocast; None: dtype of the student's output matrix. On a GPU the table is copied to the GPU.
    `guide` gives the guidance of an optimizer step.
    """

    table_file = TableFile(save_table, load_table)

    @classmethod
    def prepare(cls, material: Material) -> BigramTable:
        """Estimate the table from the bigram counts, with the smoothing of the settings."""
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
        """Return one row for each distinct id; `begins` is not used."""
        # 1 the distinct contexts C, and the row of each position
        check_ids(self.table, context.reshape(-1))
        contexts_C, row = distinct(context, self.table.vocab_size)

        # 2 cut the sparse rows of the contexts, and their weights of the shared vector
        sparse: SparseRows
        if self.on_device is None:
            sparse = HostRows(*cut_rows(self.table, contexts_C, np.int32), self.table.vocab_size, dtype)
        else:
            length_C = self.table.indptr[contexts_C + 1] - self.table.indptr[contexts_C]
            sparse = self.on_device.cut(contexts_C, length_C, dtype)
        backoff_C = self.table.backoff_V[contexts_C]
        return StepRows(
            sparse=sparse,
            row=to_device(row, self.device),
            backoff_R=to_device(backoff_C, self.device).to(dtype) if backoff_C.any() else None,
        )


def distinct(context: np.ndarray, vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct ids, ascending [C], and the place of each context among them, in the shape of the contexts.

    This takes a tenth of the time of numpy's unique, which sorts.
    """
    place_V = np.zeros(vocab_size, np.int64)
    place_V[context] = 1
    contexts_C = np.flatnonzero(place_V)
    place_V[contexts_C] = np.arange(len(contexts_C))
    return contexts_C, place_V[context]


def device_table(table: BigramTable, device: torch.device, product: torch.dtype | None = None) -> DeviceTable:
    """Copy the table's sparse rows, one for each token, to a device."""
    return DeviceTable.of(table.indptr[:-1], table.indices, table.values, table.vocab_size, device, product)
