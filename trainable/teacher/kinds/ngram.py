"""Teacher of n-grams of order 2 to 5, with interpolated modified Kneser-Ney; a row is the distribution after a history.

A position takes the row of its longest history that was counted, of at most `order - 1` tokens. The parent of a row is
the row of the history without its oldest token. Histories reach neither across an eos nor out of the block.
"""

from itertools import pairwise

import numpy as np
import torch

from trainable.teacher.device_rows import DeviceTable, to_device
from trainable.teacher.host_rows import HostRows
from trainable.teacher.kneser_ney import estimate_ngrams
from trainable.teacher.material import Material
from trainable.teacher.ngram_table import NgramTable, cut, find_rows
from trainable.teacher.ngram_table_file import load_ngrams, save_ngrams
from trainable.teacher.teacher import RowTeacher, SparseRows, StepRows, TableFile


class NgramTeacher(RowTeacher):
    """Teacher with an n-gram `table`: its distribution at a position depends on up to order - 1 tokens of the block.

    device: device of the student. product: dtype of the teacher's matrix products on a GPU, such as torch.bfloat16 for
    a student under autocast; None: dtype of the student's output matrix. There is one level of rows for each length of
    history. `guide` gives the guidance of an optimizer step.
    """

    table_file = TableFile(save_ngrams, load_ngrams)

    @classmethod
    def prepare(cls, material: Material) -> NgramTable:
        """Estimate the table from the counts of n-grams, of the order in the settings."""
        assert material.ngrams is not None
        return estimate_ngrams(
            material.ngrams(material.order),
            min_count=material.min_counts,
            tokenizer_fingerprint=material.tokenizer_fingerprint,
            rows=material.rows,
        )

    def __init__(
        self, table: NgramTable, device: torch.device | str = "cpu", *, product: torch.dtype | None = None
    ) -> None:
        super().__init__(table, device, product=product)
        self.base_V = torch.tensor(table.base_V, device=device)

    def rows(
        self,
        context: np.ndarray,
        blocks: np.ndarray | None,
        dtype: torch.dtype,
        begins: np.ndarray | None = None,
    ) -> StepRows:
        """Return one row for each distinct history, and for each of its parents."""
        table: NgramTable = self.table
        # 1 find the row of each position at each level, and cut these rows
        context_BxT = context.reshape(-1, context.shape[-1])
        found = cut(table, find_rows(table, context_BxT, None if begins is None else begins.reshape(context_BxT.shape)))
        # 2 put an empty row first, which is the shared vector itself, for positions whose token was never seen
        indptr_R1 = np.concatenate([[0], found.indptr])
        backoff_R = np.concatenate([np.ones(1, np.float32), found.lambda_C])
        parent_R, row = np.concatenate([[0], found.parent_C + 1]), found.row_BxT + 1
        bounds = (0, *(bound + 1 for bound in found.bounds[1:]))
        # 3 move the rows to the student's device; for a GPU the host cuts them
        sparse: SparseRows
        if self.device.type == "cuda":
            there = DeviceTable(indptr_R1, found.columns, found.values, table.vocab_size, self.device, self.product)
            sparse = there.cut(np.arange(len(backoff_R)), dtype)
        else:
            sparse = HostRows(indptr_R1, found.columns, found.values, table.vocab_size, dtype)
        return StepRows(
            sparse=sparse,
            row=to_device(row.reshape(context.shape), self.device),
            backoff_R=to_device(backoff_R, self.device).to(dtype),
            parent_R=to_device(parent_R, self.device),
            levels=tuple(slice(first, last) for first, last in pairwise(bounds)),
        )
