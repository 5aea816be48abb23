"""A teacher's sparse rows on a GPU: the table lies there, and a step's rows are cut and multiplied there.

Nothing here waits for the device: which contexts a step has, and so every size, is known on the host beforehand.
Long rows are multiplied as dense tiles, which tensor cores do for almost nothing; short rows as sums of a few rows of
W (an embedding bag), for which a dense row would be mostly zeros.

    V vocabulary   D width   C distinct contexts of a step, longest rows first   L of them with long rows
    K non-zeros of the table   Z non-zeros of the step   z of its short rows
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainable.teacher.table import BigramTable

SCRATCH_BYTES = 256 << 20  # of one dense tile
LONG_ROW = {torch.bfloat16: 1 / 200, torch.float32: 1 / 32}  # share of V from which a dense row is faster


class DeviceTable:
    """A table's arrays on a device, and the type of its products: the weights' own, or bfloat16."""

    def __init__(self, table: BigramTable, device: torch.device, product: torch.dtype | None = None):
        self.device, self.product, self.vocab_size = device, product, table.vocab_size
        self.length_V = np.diff(table.indptr)  # stays on the host: it gives the sizes
        self.start_V = torch.tensor(table.indptr[:-1], device=device)
        self.columns_K = torch.tensor(table.indices.astype(np.int32), device=device)
        self.values_K = torch.tensor(table.values, device=device)

    def cut(self, contexts_C: np.ndarray, dtype: torch.dtype) -> "DeviceRows":
        """The sparse rows of some contexts, for an output matrix of `dtype`."""
        return DeviceRows(self, contexts_C, self.product or dtype)


class DeviceRows:
    """The sparse part S of a table's rows for some contexts, C of V numbers, and its two products."""

    def __init__(self, table: DeviceTable, contexts_C: np.ndarray, product: torch.dtype):
        # 1 on the host: longest rows first, and where each row's numbers end
        length_C = table.length_V[contexts_C]
        order_C = np.argsort(-length_C, kind="stable")
        contexts_C, length_C = contexts_C[order_C], length_C[order_C]
        self.end_C1 = np.concatenate([[0], np.cumsum(length_C)])
        self.long = int((length_C > table.vocab_size * LONG_ROW.get(product, 1 / 32)).sum())
        self.vocab_size, self.product = table.vocab_size, product

        # 2 on the device: the row of each number, and its place in the table
        host_3xC = np.stack([contexts_C, length_C, self.end_C1[:-1]])
        self.contexts_C, length_c, self.first_C = _to_device(host_3xC, table.device)
        total = int(self.end_C1[-1])
        numbers_C = torch.arange(len(contexts_C), device=table.device)
        self.row_Z = torch.repeat_interleave(numbers_C, length_c, output_size=total)
        shift_C = table.start_V[self.contexts_C] - self.first_C
        place_Z = torch.arange(total, device=table.device) + shift_C[self.row_Z]
        self.columns_Z = table.columns_K[place_Z].long()
        self.values_Z = table.values_K[place_Z]

    def times(self, output_VxD: Tensor) -> Tensor:
        """S W, [C, D]."""
        low_VxD = output_VxD.to(self.product)
        product_CxD = output_VxD.new_empty(len(self.contexts_C), output_VxD.shape[1])
        for first, last in self._tiles():
            product_CxD[first:last] = _product(self._dense(first, last), low_VxD, output_VxD.dtype)
        if self.long < len(self.contexts_C):
            begin = self.end_C1[self.long]
            product_CxD[self.long :] = F.embedding_bag(
                self.columns_Z[begin:],
                low_VxD,
                self.first_C[self.long :] - begin,
                mode="sum",
                per_sample_weights=self.values_Z[begin:].to(self.product),
            )
        return product_CxD

    def add_transposed(self, grad_VxD: Tensor, grad_CxD: Tensor) -> None:
        """grad_VxD += S^T grad_CxD, in place."""
        low_CxD = grad_CxD.to(self.product)
        for first, last in self._tiles():
            grad_VxD += _product(self._dense(first, last).t(), low_CxD[first:last], grad_VxD.dtype)
        begin = self.end_C1[self.long]
        if begin < self.end_C1[-1]:
            # the short rows' numbers by column: each row of the gradient is a sum of a few rows, always in one order
            columns_z, order_z = torch.sort(self.columns_Z[begin:], stable=True)
            first_V = torch.searchsorted(columns_z, torch.arange(self.vocab_size, device=columns_z.device))
            grad_VxD += F.embedding_bag(
                self.row_Z[begin:][order_z],
                grad_CxD,
                first_V,
                mode="sum",
                per_sample_weights=self.values_Z[begin:][order_z].to(grad_CxD.dtype),
            )

    def _tiles(self) -> list[tuple[int, int]]:
        """First and last row of each dense tile of the long rows."""
        rows = max(1, SCRATCH_BYTES // (self.vocab_size * self.product.itemsize))
        return [(first, min(first + rows, self.long)) for first in range(0, self.long, rows)]

    def _dense(self, first: int, last: int) -> Tensor:
        """Rows written out, [last - first, V]."""
        here = slice(int(self.end_C1[first]), int(self.end_C1[last]))
        tile = torch.zeros(last - first, self.vocab_size, dtype=self.product, device=self.values_Z.device)
        at_z = (self.row_Z[here] - first) * self.vocab_size + self.columns_Z[here]
        tile.view(-1).scatter_(0, at_z, self.values_Z[here].to(self.product))
        return tile


def _to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy on the device, for which the host does not wait."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """A matrix product summed and given in `dtype`, whatever the type of its factors."""
    if left.dtype == dtype:
        return left @ right
    if left.device.type == "cuda":
        return torch.mm(left, right, out_dtype=dtype)
    return left.to(dtype) @ right.to(dtype)
