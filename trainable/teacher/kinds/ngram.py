"""Teacher of n-grams of order 2 to 5, with interpolated modified Kneser-Ney; a row is the distribution after a history.

A position takes the row of its longest history that was counted, of at most `order - 1` tokens. The parent of a row is
the row of the history without its oldest token. Histories reach neither across an eos nor out of the block.
"""

from itertools import pairwise

import numpy as np
import torch

from trainable.teacher.device_rows import DeviceRows, DeviceTable, to_device
from trainable.teacher.host_rows import HostRows
from trainable.teacher.kneser_ney import estimate_ngrams
from trainable.teacher.material import Material
from trainable.teacher.ngram_table import DistinctRows, NgramTable, RowSet, cut, distinct_rows, find_rows, whole_level
from trainable.teacher.ngram_table_file import load_ngrams, save_ngrams
from trainable.teacher.teacher import RowTeacher, SparseRows, StepRows, TableFile


class NgramTeacher(RowTeacher):
    """Teacher with an n-gram `table`: its distribution at a position depends on up to order - 1 tokens of the block.

    device: device of the student. product: dtype of the teacher's matrix products on a GPU, such as torch.bfloat16 for
    a student under autocast; None: dtype of the student's output matrix. On a GPU the table is copied to the GPU.
    There is one level of rows for each length of history. `guide` gives the guidance of an optimizer step.
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
        self.on_device = DeviceNgrams(table, self.device, product) if self.device.type == "cuda" else None

    def rows(
        self,
        context: np.ndarray,
        blocks: np.ndarray | None,
        dtype: torch.dtype,
        begins: np.ndarray | None = None,
    ) -> StepRows:
        """Return one row for each distinct history, and for each of its parents."""
        table: NgramTable = self.table
        context_BxT = context.reshape(-1, context.shape[-1])
        # 1 find the row of each position at each level
        rows_MxBxT = find_rows(table, context_BxT, None if begins is None else begins.reshape(context_BxT.shape))
        # 2 cut these rows, after an empty row, which is the shared vector itself: for a token that was never seen
        found: DistinctRows | RowSet
        sparse: SparseRows
        if self.on_device is None:
            found = cut(table, rows_MxBxT)
            indptr_R1 = np.concatenate([[0], found.indptr])
            sparse = HostRows(indptr_R1, found.columns, found.values, table.vocab_size, dtype)
            backoff_R = torch.from_numpy(np.concatenate([np.ones(1, np.float32), found.lambda_C]))
        else:
            found = distinct_rows(rows_MxBxT)
            sparse, backoff_R = self.on_device.cut(found, dtype)
        return StepRows(
            sparse=sparse,
            row=to_device((found.row_BxT + 1).reshape(context.shape), self.device),
            backoff_R=backoff_R.to(dtype),
            parent_R=to_device(np.concatenate([[0], found.parent_C + 1]), self.device),
            levels=tuple(
                slice(first, last) for first, last in pairwise((0, *(bound + 1 for bound in found.bounds[1:])))
            ),
        )


class DeviceNgrams:
    """All rows of an n-gram table in a device's memory: 8 bytes for each n-gram, and 12 for each row.

    Row 0 is empty, with lambda 1. After it stand the rows of all levels end to end, shorter histories first.
    """

    def __init__(self, table: NgramTable, device: torch.device, product: torch.dtype | None = None):
        self.levels = table.levels
        whole = [whole_level(level, table.discounts[i]) for i, level in enumerate(table.levels, 1)]
        values, lambdas = zip(*whole, strict=True)
        entries = np.cumsum([0, *(len(level.columns) for level in table.levels)])
        starts = [level.indptr[:-1] + first for level, first in zip(table.levels, entries[:-1], strict=True)]
        self.first_row = 1 + np.cumsum([0, *(len(start_R) for start_R in starts)])
        self.lambda_R = torch.from_numpy(np.concatenate([np.ones(1, np.float32), *lambdas])).to(device)
        self.table = DeviceTable.of(
            np.concatenate([[0], *starts]),
            np.concatenate([level.columns for level in table.levels]),
            np.concatenate(values),
            table.vocab_size,
            device,
            product,
        )

    def cut(self, found: DistinctRows, dtype: torch.dtype) -> tuple[DeviceRows, torch.Tensor]:
        """Cut an empty row and the rows that were found; return them, and lambda of each row."""
        rows, lengths = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
        for level, first, rows_C in zip(self.levels, self.first_row[:-1], found.rows, strict=True):
            start_C, end_C = level.spans(rows_C)
            rows.append(rows_C + first)
            lengths.append(end_C - start_C)
        rows_R = np.concatenate(rows)
        return (
            self.table.cut(rows_R, np.concatenate(lengths), dtype),
            self.lambda_R[to_device(rows_R, self.lambda_R.device)],
        )
